//! The optional manifest of a bundle, `rscore.toml`: what can't be read off the
//! R object, or should be said otherwise. It is read by hand rather than by
//! derive, so that all its mistakes come at once, each with its key.

mod columns;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::duration;
use crate::frame::schema::{Column, InputSchemas, Inputs, SINGLE_INPUT, Schema, UnknownColumns};

/// Keys that a manifest may have.
const KEYS: [&str; 13] = [
    "description",
    "packages",
    "script",
    "timeout",
    "warm_up",
    "seed",
    "unknown_columns",
    "rows_like",
    "row_independent",
    "independent_by",
    "predict",
    "columns",
    "inputs",
];

/// A bundle's manifest; every part is optional.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// What the model is for, in a sentence.
    pub description: Option<String>,
    /// Packages to attach before the model is read.
    pub packages: Vec<String>,
    /// File name of the scoring script within the bundle.
    pub script: Option<String>,
    /// Longest time for one request.
    pub timeout: Option<Duration>,
    /// Whether rows may be scored before workers are forked; yes where nothing is
    /// said. A model that opens a connection when it scores must say no.
    pub warm_up: Option<bool>,
    /// Seed that each call of R begins with, so that the same rows give the same
    /// random numbers. Without one, each call draws anew.
    pub seed: Option<i32>,
    /// What happens to columns that the schema doesn't have.
    pub unknown_columns: UnknownColumns,
    /// With several inputs: the one that has as many rows as the predictions.
    pub rows_like: Option<String>,
    /// Whether each row's prediction depends on that row alone, so that requests
    /// may share calls. Unless said, it is assumed of plain `predict` and not of a
    /// script. Proved at load in any case.
    pub row_independent: Option<bool>,
    /// Columns that tell groups of rows apart which don't depend on each other. A batch
    /// run may then set a group aside that raises an error, and score the others.
    pub independent_by: Vec<String>,
    /// Extra arguments of `predict()` where there is no script.
    pub predict: Vec<(String, Argument)>,
    /// Declared columns, by input; empty when the manifest says nothing of them.
    pub inputs: Vec<(String, Vec<Column>)>,
}

/// An argument of `predict()`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Argument {
    /// A logical scalar.
    Logical(bool),
    /// A double scalar; R has no need of an integer here.
    Double(f64),
    /// A character scalar.
    Character(String),
    /// A double vector.
    Doubles(Vec<f64>),
    /// A character vector.
    Characters(Vec<String>),
}

/// All mistakes of a manifest, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rscore.toml: {}", .0.join("; "))]
pub struct ManifestError(pub Vec<String>);

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let table: Table =
            text.parse().map_err(|error: toml::de::Error| ManifestError(vec![error.to_string().trim().to_owned()]))?;
        let mut problems = Vec::new();
        let mut manifest = Self::default();
        for (key, value) in &table {
            manifest.read_key(key, value, &mut problems);
        }
        manifest.check(&mut problems);
        if problems.is_empty() { Ok(manifest) } else { Err(ManifestError(problems)) }
    }

    fn read_key(&mut self, key: &str, value: &Value, problems: &mut Vec<String>) {
        match key {
            "description" => self.description = read_string(key, value, problems),
            "script" => self.script = read_string(key, value, problems),
            "rows_like" => self.rows_like = read_string(key, value, problems),
            "independent_by" => self.independent_by = read_strings(key, value, problems),
            "row_independent" => self.row_independent = read_boolean(key, value, problems),
            "warm_up" => self.warm_up = read_boolean(key, value, problems),
            "seed" => match value.as_integer().and_then(|seed| i32::try_from(seed).ok()) {
                Some(seed) => self.seed = Some(seed),
                None => problems.push(format!("seed must be a whole number that R's integers hold, not {value}")),
            },
            "packages" => self.packages = read_strings(key, value, problems),
            "timeout" => {
                if let Some(text) = read_string(key, value, problems) {
                    match duration::parse(&text) {
                        Ok(timeout) if timeout.is_zero() => problems.push("timeout must be longer than 0".to_owned()),
                        Ok(timeout) => self.timeout = Some(timeout),
                        Err(problem) => problems.push(format!("timeout: {problem}")),
                    }
                }
            }
            "unknown_columns" => match value.as_str() {
                Some("error") => self.unknown_columns = UnknownColumns::Error,
                Some("ignore") => self.unknown_columns = UnknownColumns::Ignore,
                _ => problems.push(format!("unknown_columns is \"error\" or \"ignore\", not {value}")),
            },
            "predict" => match value.as_table() {
                Some(arguments) => self.read_arguments("", arguments, problems),
                None => problems.push("predict must be a table of arguments".to_owned()),
            },
            "columns" => {
                if let Some(columns) = columns::read("columns", value, problems) {
                    self.inputs.push((SINGLE_INPUT.to_owned(), columns));
                }
            }
            "inputs" => match value.as_table() {
                Some(inputs) if !inputs.is_empty() => {
                    for (name, value) in inputs {
                        if let Some(columns) = columns::read(&format!("inputs.{name}"), value, problems) {
                            self.inputs.push((name.clone(), columns));
                        }
                    }
                }
                _ => problems.push("inputs must be a table with a table of columns per input".to_owned()),
            },
            unknown => problems.push(unknown_key(unknown, &KEYS)),
        }
    }

    /// Reads arguments of `predict()`. R likes dots in their names, and TOML
    /// reads `n.trees = 15` as a table `n` with `trees` in it.
    fn read_arguments(&mut self, prefix: &str, arguments: &Table, problems: &mut Vec<String>) {
        for (name, value) in arguments {
            let name = format!("{prefix}{name}");
            match (value, Argument::read(value)) {
                (Value::Table(inner), _) if !inner.is_empty() => {
                    self.read_arguments(&format!("{name}."), inner, problems);
                }
                (_, Some(argument)) => self.predict.push((name, argument)),
                (_, None) => problems.push(format!(
                    "predict.{name} must be a boolean, a number, a string, or an array of numbers or strings"
                )),
            }
        }
    }

    fn check(&self, problems: &mut Vec<String>) {
        let names: Vec<&str> = self.inputs.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() > 1 && names.contains(&SINGLE_INPUT) {
            problems.push("either [columns] for a single input or [inputs.NAME] for several, not both".to_owned());
        }
        match &self.rows_like {
            Some(input) if !names.contains(&input.as_str()) => {
                problems.push(format!("rows_like names the input '{input}', which [inputs] doesn't have"));
            }
            None if names.len() > 1 => problems.push(
                "with several inputs, rows_like must name the one that has as many rows as the predictions".to_owned(),
            ),
            _ => {}
        }
        if let Some(script) = &self.script
            && (script.contains('/') || script.is_empty() || script == "..")
        {
            problems.push("script is a file name within the bundle, without a path".to_owned());
        }
    }

    /// The schemas of a model whose R object has the columns `inferred`.
    ///
    /// Without a scoring script a declared column refines the inferred one of the
    /// same name. With one, the script may compute the model's columns from others,
    /// so what is declared stands alone.
    ///
    /// # Errors
    /// A declared column that the model doesn't have.
    pub fn schemas(&self, inferred: Option<Vec<Column>>, has_script: bool) -> Result<InputSchemas, ManifestError> {
        let unknown_columns = self.unknown_columns;
        let schema = |columns| Schema { columns, unknown_columns };
        let declared = match self.inputs.as_slice() {
            [] => {
                return Ok(Inputs::single(match inferred {
                    Some(columns) => schema(columns),
                    None => Schema::untyped(),
                }));
            }
            [(name, columns)] if name == SINGLE_INPUT => columns,
            several => {
                return Ok(Inputs::named(
                    several.iter().map(|(name, columns)| (name.clone(), schema(columns.clone()))).collect(),
                ));
            }
        };
        let Some(mut columns) = inferred.filter(|_| !has_script) else {
            return Ok(Inputs::single(schema(declared.clone())));
        };
        let mut problems = Vec::new();
        for column in declared {
            match columns.iter_mut().find(|inferred| inferred.name == column.name) {
                Some(inferred) => {
                    let levels = std::mem::take(&mut inferred.levels);
                    *inferred = column.clone();
                    if inferred.levels.is_empty() {
                        inferred.levels = levels;
                    }
                }
                None => {
                    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                    problems.push(format!(
                        "columns.{} is not a column of the model, which has {}",
                        column.name,
                        names.join(", ")
                    ));
                }
            }
        }
        for column in &columns {
            if column.kind.is_factor() && column.levels.is_empty() {
                problems.push(format!("columns.{} is a factor and needs levels", column.name));
            }
        }
        if problems.is_empty() { Ok(Inputs::single(schema(columns))) } else { Err(ManifestError(problems)) }
    }
}

impl Argument {
    fn read(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Boolean(value) => Self::Logical(*value),
            Value::Integer(_) | Value::Float(_) => Self::Double(number(value)?),
            Value::String(value) => Self::Character(value.clone()),
            Value::Array(values) if values.iter().all(Value::is_str) => {
                Self::Characters(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
            }
            Value::Array(values) => Self::Doubles(values.iter().map(number).collect::<Option<_>>()?),
            Value::Datetime(_) | Value::Table(_) => return None,
        })
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn read_string(key: &str, value: &Value, problems: &mut Vec<String>) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    if text.is_none() {
        problems.push(format!("{key} must be a string, not {value}"));
    }
    text
}

fn read_boolean(key: &str, value: &Value, problems: &mut Vec<String>) -> Option<bool> {
    let read = value.as_bool();
    if read.is_none() {
        problems.push(format!("{key} must be true or false, not {value}"));
    }
    read
}

fn read_strings(key: &str, value: &Value, problems: &mut Vec<String>) -> Vec<String> {
    let strings = value
        .as_array()
        .and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    strings.unwrap_or_else(|| {
        problems.push(format!("{key} must be an array of strings, not {value}"));
        Vec::new()
    })
}

/// Names the known key that an unknown one is most like.
fn unknown_key(unknown: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|key| (strsim::jaro_winkler(key, unknown), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    match nearest {
        Some((_, key)) => format!("unknown key '{unknown}'; did you mean '{key}'?"),
        None => format!("unknown key '{unknown}'; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests;
