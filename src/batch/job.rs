//! The job file: what is scored with which model, and where the results go. It
//! is read by hand rather than by derive, so that all its mistakes come at once,
//! each with its key, and a mistyped key is answered with the nearest one.

mod read;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::read::Reader;
use super::template::Template;
use crate::frame::format::Format;

/// A job that passed its checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The bundle: a folder, or a location in a store.
    pub model: String,
    /// Where output goes.
    pub output: Output,
    /// Named inputs in the order of the file.
    pub inputs: Vec<(String, Template)>,
    /// How inputs become partitions.
    pub partition: Partitioning,
    /// What may go wrong.
    pub errors: Errors,
    /// Bounds.
    pub limits: Limits,
    /// Seed of the random streams.
    pub seed: u64,
    /// The file's text, kept in the plan.
    pub text: String,
}

/// Where output goes and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Path of a partition's file.
    pub template: Template,
    /// Its format, by extension.
    pub format: Format,
    /// Columns of the input that stand before the predictions.
    pub keep: Vec<String>,
}

/// How inputs become partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct Partitioning {
    /// What becomes of a key that one input lacks.
    pub missing: Missing,
    /// How one file becomes several partitions.
    pub split: Split,
}

/// What becomes of a key that one input lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// No run: the plan names the keys.
    Fail,
    /// The run goes on without; the plan and the report list the keys.
    Quarantine,
    /// The run goes on without; the plan and the report count the keys.
    Ignore,
}

/// How one file becomes several partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// One partition per file.
    None,
    /// So many rows each.
    Rows(u64),
    /// At the borders of groups, so that no group is cut; the file is sorted by
    /// these columns.
    GroupBy(Vec<String>),
}

/// What may go wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// What becomes of a row that can't be read or scored.
    pub rows: BadRows,
    /// Highest share of the rows of scored partitions that may be quarantined, from 0
    /// to 1.
    pub max_row_error_rate: f64,
    /// Most partitions that may fail.
    pub max_failed_partitions: u64,
}

impl Errors {
    /// Nothing may go wrong, and bad rows are set aside.
    pub fn strict() -> Self {
        Self { rows: BadRows::Quarantine, max_row_error_rate: 0.0, max_failed_partitions: 0 }
    }
}

/// What becomes of a row that can't be read or scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRows {
    /// It is set aside with its reason, and the others are scored.
    Quarantine,
    /// Its partition fails.
    Fail,
}

/// Bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Longest time that R may spend on a partition.
    pub partition_timeout: Duration,
    /// Bytes of inputs and outputs that one process holds at once.
    pub memory_bytes: u64,
    /// Rows of one partition.
    pub max_rows: usize,
    /// How long a silent shard is believed to live.
    pub shard_timeout: Duration,
    /// How long R may go on after a stop was asked for.
    pub stop_timeout: Duration,
    /// Largest log of one partition.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            partition_timeout: Duration::from_secs(600),
            memory_bytes: 1 << 30,
            max_rows: 10_000_000,
            shard_timeout: Duration::from_secs(45),
            stop_timeout: Duration::from_secs(20),
            log_bytes: 1 << 20,
        }
    }
}

/// All mistakes of a job file, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job file has {}:\n  - {}", count(.0.len()), .0.join("\n  - "))]
pub struct JobError(pub Vec<String>);

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

const ROOT: &[&str] = &["model", "output", "keep", "inputs", "partition", "errors", "limits", "run"];

impl Job {
    /// Reads the text of a job file.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn parse(text: &str) -> Result<Self, JobError> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| JobError(vec![error.to_string().trim().to_owned()]))?;
        let mut root = Reader::new("", table, ROOT);
        let model = root.required_text("model");
        let output = root.required_text("output");
        let keep = root.texts("keep").unwrap_or_default();
        let mut problems = Vec::new();
        let inputs = read_inputs(&mut root, &mut problems);
        let mut partition = root.section("partition", &["missing", "split"]);
        let missing = partition
            .choice(
                "missing",
                &[("fail", Missing::Fail), ("quarantine", Missing::Quarantine), ("ignore", Missing::Ignore)],
            )
            .unwrap_or(Missing::Fail);
        let split = partition.text("split").map_or(Ok(Split::None), |text| Split::parse(&text));
        let mut errors = root.section("errors", &["rows", "max_row_error_rate", "max_failed_partitions"]);
        let rows = errors.choice("rows", &[("quarantine", BadRows::Quarantine), ("fail", BadRows::Fail)]);
        let rate = errors.number("max_row_error_rate", 0.0, 1.0).unwrap_or(0.0);
        let failed = errors.whole("max_failed_partitions", 0, u64::from(u32::MAX)).unwrap_or(0);
        let limits = read_limits(&mut root);
        let mut run = root.section("run", &["seed"]);
        let seed = run.whole("seed", 0, i64::MAX.unsigned_abs()).unwrap_or(42);
        for section in [partition, errors, run] {
            problems.extend(section.finish());
        }
        let (limits, limit_problems) = limits;
        problems.extend(limit_problems);
        let split = split.unwrap_or_else(|problem| {
            problems.push(problem);
            Split::None
        });
        let output = output.and_then(|text| match Template::parse(&text) {
            Ok(template) => match format_of(&text) {
                Some(format) => Some(Output { template, format, keep }),
                None => {
                    problems.push(format!("output: '{text}' must end in .csv, .jsonl, .parquet or .arrow"));
                    None
                }
            },
            Err(problem) => {
                problems.push(format!("output: {problem}"));
                None
            }
        });
        let inputs = check_captures(inputs, output.as_ref(), &mut problems);
        check_split(&split, &inputs, output.as_ref(), &mut problems);
        let mut all = root.finish();
        all.extend(problems);
        match (model, output) {
            (Some(model), Some(output)) if all.is_empty() => Ok(Self {
                model,
                output,
                inputs,
                partition: Partitioning { missing, split },
                errors: Errors {
                    rows: rows.unwrap_or(BadRows::Quarantine),
                    max_row_error_rate: rate,
                    max_failed_partitions: failed,
                },
                limits,
                seed,
                text: text.to_owned(),
            }),
            _ => Err(JobError(all)),
        }
    }
}

fn read_inputs(root: &mut Reader, problems: &mut Vec<String>) -> Vec<(String, Template)> {
    let Some(table) = root.table("inputs") else {
        problems.push("inputs: at least one is needed, such as [inputs] with data = \"data/part{p}.csv\"".to_owned());
        return Vec::new();
    };
    if table.is_empty() {
        problems.push("inputs: at least one is needed, such as data = \"data/part{p}.csv\"".to_owned());
    }
    let mut inputs = Vec::new();
    for (name, value) in table {
        match value.as_str() {
            Some(text) if format_of(text).is_none() => {
                problems.push(format!("inputs.{name}: '{text}' must end in .csv, .jsonl, .parquet or .arrow"));
            }
            Some(text) => match Template::parse(text) {
                Ok(template) => inputs.push((name, template)),
                Err(problem) => problems.push(format!("inputs.{name}: {problem}")),
            },
            None => problems.push(format!("inputs.{name} must be a path as a string, not {value}")),
        }
    }
    inputs
}

/// Bounds of all durations.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Shortest silence of a shard that tells anything: it beats five times in it.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

fn read_limits(root: &mut Reader) -> (Limits, Vec<String>) {
    let keys = &["partition_timeout", "memory_bytes", "max_rows", "shard_timeout", "stop_timeout", "log_bytes"];
    let mut section = root.section("limits", keys);
    let default = Limits::default();
    let limits = Limits {
        partition_timeout: section
            .duration("partition_timeout", SHORTEST, LONGEST)
            .unwrap_or(default.partition_timeout),
        memory_bytes: section.whole("memory_bytes", 1 << 20, 1 << 46).unwrap_or(default.memory_bytes),
        max_rows: section
            .whole("max_rows", 1, i32::MAX as u64)
            .and_then(|rows| usize::try_from(rows).ok())
            .unwrap_or(default.max_rows),
        shard_timeout: section.duration("shard_timeout", SHORTEST_SILENCE, LONGEST).unwrap_or(default.shard_timeout),
        stop_timeout: section.duration("stop_timeout", SHORTEST, LONGEST).unwrap_or(default.stop_timeout),
        log_bytes: section.whole("log_bytes", 1024, 1 << 30).unwrap_or(default.log_bytes),
    };
    (limits, section.finish())
}

/// One name has one type in all templates, and the output knows only names that
/// an input has, besides `run`.
fn check_captures(
    inputs: Vec<(String, Template)>,
    output: Option<&Output>,
    problems: &mut Vec<String>,
) -> Vec<(String, Template)> {
    let mut kinds = std::collections::BTreeMap::new();
    for (input, template) in &inputs {
        for (name, kind) in template.captures() {
            if name == RUN_CAPTURE {
                problems.push(format!("inputs.{input}: {{run}} is the run's own id and has no place in an input"));
            }
            if let Some(kind) = kind
                && let Some(other) = kinds.insert(name.to_owned(), kind)
                && other != kind
            {
                problems.push(format!("the capture {{{name}}} is both {other} and {kind}"));
            }
        }
    }
    if let Some(output) = output {
        let known: Vec<&str> = inputs.iter().flat_map(|(_, template)| template.names()).collect();
        let names = output.template.names();
        for name in names.iter().filter(|name| **name != RUN_CAPTURE && !known.contains(name)) {
            problems.push(format!("output: no input has the capture {{{name}}}"));
        }
        for name in known.iter().collect::<std::collections::BTreeSet<_>>() {
            if !names.contains(name) {
                problems.push(format!("output: lacks {{{name}}}, so that partitions would overwrite each other"));
            }
        }
    }
    inputs.into_iter().map(|(name, template)| (name, template.with_kinds(|name| kinds.get(name).copied()))).collect()
}

/// Name of the capture that is the run's id.
pub const RUN_CAPTURE: &str = "run";

/// Name of the capture that is the number of a part of a split file.
pub const PART_CAPTURE: &str = "part";

fn check_split(split: &Split, inputs: &[(String, Template)], output: Option<&Output>, problems: &mut Vec<String>) {
    if *split == Split::None {
        return;
    }
    if inputs.len() != 1 {
        problems.push("partition.split: works with a single input; join several inputs by their paths".to_owned());
    }
    if output.is_some_and(|output| output.template.names().contains(&PART_CAPTURE)) {
        problems.push("output: leave {part} out; the number of a part goes before the extension by itself".to_owned());
    }
}

impl Split {
    fn parse(text: &str) -> Result<Self, String> {
        let problem = || {
            format!(
                "partition.split: got '{text}', expected none, rows:50000, or group_by: with names of columns, such as group_by:sku,store"
            )
        };
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("rows", rows)) => match rows.trim().parse() {
                Ok(rows) if rows > 0 => Ok(Self::Rows(rows)),
                _ => Err(problem()),
            },
            Some(("group_by", columns)) => {
                let columns: Vec<String> = columns.split(',').map(|column| column.trim().to_owned()).collect();
                if columns.iter().any(String::is_empty) { Err(problem()) } else { Ok(Self::GroupBy(columns)) }
            }
            _ => Err(problem()),
        }
    }
}

/// The format that a path's extension stands for. One JSON document is none that a
/// file of many rows should have.
pub fn format_of(path: &str) -> Option<Format> {
    let (_, extension) = path.rsplit_once('.')?;
    Format::of_extension(extension).filter(|format| *format != Format::Json)
}

#[cfg(test)]
mod tests;
