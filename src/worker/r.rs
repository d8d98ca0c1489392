//! The R engine: the only part of rscore that names R. It embeds the
//! interpreter, evaluates `bootstrap.R` in it, and calls the functions defined
//! there. Everything that R code may raise is caught by R code in `bootstrap.R`
//! and comes back as data.

mod convert;
mod ffi;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use rustix::process::{Pid, getpid};

use self::ffi::{Object, Runtime, Surroundings};
use super::collector::{Pace, cpu_time};
use super::engine::{Engine, Outcome};
use super::protocol::{LoadRequest, LoadedModel, Predictions};
use crate::error::Condition;
use crate::frame::schema::{Column, ColumnType, Inputs, UnknownLevel};
use crate::model::manifest::Argument;

/// R functions that surround a model's own code.
const BOOTSTRAP: &str = concat!(
    include_str!("r/bootstrap.R"),
    include_str!("r/bootstrap/collector.R"),
    include_str!("r/bootstrap/conditions.R"),
    include_str!("r/bootstrap/loading.R"),
    include_str!("r/bootstrap/result.R"),
    include_str!("r/bootstrap/schema.R"),
    include_str!("r/bootstrap/world.R"),
);

/// R, embedded in this process.
pub struct REngine {
    runtime: Runtime,
    /// Environment with the functions of `bootstrap.R`; missing when evaluating
    /// it failed, which loading then reports.
    functions: Result<Object, Condition>,
    /// State of the random generator before each call; R's own way where there is none.
    stream: Option<[i32; 6]>,
    /// R's temporary folder; known once a bundle is loaded.
    temporary_folder: Option<PathBuf>,
    /// What the process looked like before its calls; known once a bundle is loaded.
    surroundings: Option<Surroundings>,
    /// When garbage is collected between calls.
    pace: Pace,
}

impl REngine {
    /// Starts R on this thread, which must be the process's main one.
    pub fn start() -> Self {
        let runtime = Runtime::start();
        let functions = runtime.evaluate_source(BOOTSTRAP);
        Self { runtime, functions, stream: None, temporary_folder: None, surroundings: None, pace: Pace::default() }
    }

    fn call(&self, function: &str, arguments: &[&Object]) -> Result<Object, Condition> {
        let functions = self.functions.as_ref().map_err(Clone::clone)?;
        self.runtime.call(functions, function, arguments)
    }

    fn try_load(&mut self, request: &LoadRequest) -> Result<LoadedModel, Condition> {
        let options = self.load_options(request)?;
        let reply = self.call("load_bundle", &[&options])?;
        succeeded(&reply)?;
        let columns = match reply.get("columns") {
            Some(columns) if !columns.is_null() => Some(read_columns(&columns)?),
            _ => None,
        };
        self.temporary_folder = reply.get("temporary_folder").and_then(|folder| folder.string()).map(PathBuf::from);
        let packages = reply.get("packages");
        let names = packages.as_ref().map(Object::names).unwrap_or_default();
        let versions = packages.as_ref().map(Object::optional_strings).unwrap_or_default();
        Ok(LoadedModel {
            class: reply.get("class").map(|class| class.strings()).unwrap_or_default(),
            packages: names.into_iter().zip(versions).filter_map(|(name, version)| name.zip(version)).collect(),
            r_version: reply.get("r_version").and_then(|version| version.string()).unwrap_or_default(),
            columns,
            warnings: reply.get("warnings").map(|warnings| warnings.strings()).unwrap_or_default(),
        })
    }

    /// Where a worker has its temporary files: within the zygote's folder, whose end
    /// removes all.
    fn worker_folder(&self, worker: Pid) -> Option<PathBuf> {
        Some(self.temporary_folder.as_ref()?.join(format!("worker-{worker}")))
    }

    fn use_folder(&self, folder: &Path) -> Result<(), Condition> {
        DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(|error| ffi::condition("rscore_system", format!("{}: {error}", folder.display())))?;
        let name = self.runtime.character(&[folder.to_string_lossy()])?;
        self.runtime.replace_temporary_folder(|| succeeded(&self.call("own_temporary_folder", &[&name])?))
    }

    /// Remembers how things are, for [`REngine::tidy_world`].
    fn take_world(&mut self) -> Result<(), Condition> {
        self.call("take_world", &[])?;
        self.surroundings = Some(self.runtime.surroundings());
        Ok(())
    }

    /// Undoes what a call changed for those after it.
    fn tidy_world(&mut self) -> Result<(), Condition> {
        self.call("tidy_world", &[])?;
        let Some(before) = &self.surroundings else { return Ok(()) };
        if before.lost_a_stream() {
            return Err(ffi::condition("rscore_lost_stream", "a standard stream was closed or replaced".to_owned()));
        }
        if before.have_changed() {
            self.call("restore_surroundings", &[])?;
            self.surroundings = Some(self.runtime.surroundings());
        }
        Ok(())
    }

    fn have_collected(&self, function: &str) {
        self.runtime.ignore_interrupts();
        if let Err(condition) = self.call(function, &[]) {
            ffi::write_error_line(&format!("garbage could not be collected: {}", condition.message));
        }
    }

    fn set_stream(&self) -> Result<(), Condition> {
        let Some(stream) = self.stream else { return Ok(()) };
        let mut state = self.runtime.integer_of_length(stream.len())?;
        state.integers_mut().copy_from_slice(&stream);
        succeeded(&self.call("use_stream", &[&state])?)
    }

    fn load_options(&self, request: &LoadRequest) -> Result<Object, Condition> {
        let r = &self.runtime;
        let script = match &request.script {
            Some(script) => r.character(&[script])?,
            None => r.null(),
        };
        let mut arguments = Vec::with_capacity(request.predict.len());
        for (name, value) in &request.predict {
            let value = match value {
                Argument::Logical(value) => r.logical(&[Some(*value)])?,
                Argument::Double(value) => r.double(&[*value])?,
                Argument::Character(value) => r.character(&[value])?,
                Argument::Doubles(values) => r.double(values)?,
                Argument::Characters(values) => r.character(values)?,
            };
            arguments.push((name.as_str(), value));
        }
        r.list(&[
            ("directory", r.character(&[&request.directory])?),
            ("script", script),
            ("packages", r.character(&request.packages)?),
            ("predict", r.list(&arguments)?),
            ("inputs", r.character(&request.inputs)?),
            ("seed", request.seed.map_or_else(|| Ok(r.null()), |seed| r.double(&[f64::from(seed)]))?),
        ])
    }

    fn try_score(
        &self,
        inputs: &Inputs<RecordBatch>,
        times: &mut Times,
    ) -> Result<(Predictions, Vec<String>), Failure> {
        let started = Instant::now();
        self.set_stream()?;
        let data = convert::inputs_to_r(&self.runtime, inputs)?;
        let converted = Instant::now();
        times.convert += converted - started;

        let reply = self.call("score_inputs", &[&data]);
        let scored = Instant::now();
        times.score += scored - converted;

        let reply = reply?;
        let warnings = reply.get("warnings").map(|warnings| warnings.strings()).unwrap_or_default();
        if let Err(condition) = succeeded(&reply) {
            let retire = reply.get("retire").and_then(|retire| retire.flag()).unwrap_or(false);
            return Err(Failure { condition, warnings, retire });
        }
        let batch = convert::columns_from_r(&reply)?;
        times.convert += scored.elapsed();
        let unnamed = reply.get("unnamed").and_then(|unnamed| unnamed.flag()).unwrap_or(false);
        Ok((Predictions { batch, unnamed }, warnings))
    }
}

impl Engine for REngine {
    fn load(&mut self, request: &LoadRequest) -> Result<LoadedModel, Condition> {
        let loaded = self.try_load(request)?;
        self.take_world()?;
        Ok(loaded)
    }

    fn collect(&mut self) {
        self.have_collected("collect_garbage");
        self.runtime.give_back_memory();
    }

    fn collect_young(&mut self) {
        let began = cpu_time();
        self.have_collected("collect_young");
        self.pace.collected(began, cpu_time());
    }

    fn between_calls(&mut self) {
        if self.pace.is_due(cpu_time()) {
            self.collect_young();
        }
    }

    fn after_fork(&mut self, workers: u32) {
        // The deadline of the first call may pass before the worker reads it.
        self.runtime.ignore_interrupts();
        if let Err(condition) = self.runtime.count_collections() {
            ffi::write_error_line(&format!("garbage collections can't be counted: {}", condition.message));
        }
        self.pace = Pace::begin(cpu_time(), workers);
        if let Err(condition) = self.call("fresh_worker", &[]) {
            // The message reaches the log through the pipe that collects R's output.
            ffi::write_error_line(&format!("a fresh worker could not be prepared: {}", condition.message));
        }
        if let Some(folder) = self.worker_folder(getpid())
            && let Err(condition) = self.use_folder(&folder)
        {
            let reason = condition.message;
            ffi::write_error_line(&format!("a worker shares the temporary folder of its model: {reason}"));
        }
        // The folder's name is in the environment.
        if let Err(condition) = self.take_world() {
            ffi::write_error_line(&format!("a fresh worker could not be looked at: {}", condition.message));
        }
    }

    fn use_stream(&mut self, stream: [i32; 6]) {
        self.stream = Some(stream);
        // Output goes elsewhere from now on, which is no loss.
        if self.surroundings.is_some() {
            self.surroundings = Some(self.runtime.surroundings());
        }
    }

    fn before_exit(&mut self) {
        // The zygote does so as well, unless it is gone.
        self.after_worker(getpid());
    }

    fn after_worker(&mut self, worker: Pid) {
        if let Some(folder) = self.worker_folder(worker) {
            // Missing when the worker removed it. What can't be removed now is removed
            // with the zygote's folder.
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    fn score(&mut self, inputs: &Inputs<RecordBatch>) -> Outcome {
        let mut times = Times::default();
        self.runtime.expect_interrupt();
        let (result, warnings, retire) = match self.try_score(inputs, &mut times) {
            Ok((predictions, warnings)) => (Ok(predictions), warnings, false),
            // An interrupt that met R outside of the model's code is no sign of damage.
            Err(failure) if failure.retire && self.runtime.was_interrupted() => {
                (Err(interrupted()), failure.warnings, false)
            }
            Err(failure) => (Err(failure.condition), failure.warnings, failure.retire),
        };
        let finished = Instant::now();
        // An interrupt for the call that comes late must not leave this half done.
        self.runtime.ignore_interrupts();
        let tidied = self.tidy_world();
        if let Err(condition) = &tidied {
            ffi::write_error_line(&format!(
                "a worker is replaced: what a call left can't be undone: {}",
                condition.message
            ));
        }
        self.pace.observe(self.runtime.collections(), cpu_time());
        times.convert += finished.elapsed();
        Outcome {
            result,
            warnings,
            retire: retire || tidied.is_err(),
            collections: self.pace.collections(),
            convert: times.convert,
            score: times.score,
        }
    }
}

#[derive(Default)]
struct Times {
    convert: Duration,
    score: Duration,
}

struct Failure {
    condition: Condition,
    warnings: Vec<String>,
    retire: bool,
}

/// A condition that `bootstrap.R` did not turn into data came from around it;
/// the worker's R is not to be trusted further.
impl From<Condition> for Failure {
    fn from(condition: Condition) -> Self {
        Self { condition, warnings: Vec::new(), retire: true }
    }
}

/// As `bootstrap.R` says it.
fn interrupted() -> Condition {
    ffi::condition("rscore_interrupted", "the call was interrupted because it took too long".to_owned())
}

/// The `ok` of a reply of `bootstrap.R`, else the condition that it carries.
fn succeeded(reply: &Object) -> Result<(), Condition> {
    if reply.get("ok").and_then(|ok| ok.flag()) == Some(true) {
        return Ok(());
    }
    Err(Condition {
        class: reply.get("class").map(|class| class.strings()).unwrap_or_default(),
        message: reply
            .get("message")
            .and_then(|message| message.string())
            .unwrap_or_else(|| "R returned neither a result nor an error".to_owned()),
        call: reply.get("call").and_then(|call| call.string()),
    })
}

fn read_columns(columns: &Object) -> Result<Vec<Column>, Condition> {
    columns
        .elements()
        .iter()
        .map(|column| {
            let name = column.get("name").and_then(|name| name.string()).unwrap_or_default();
            let text = column.get("type").and_then(|kind| kind.string()).unwrap_or_default();
            let kind = ColumnType::parse(&text).ok_or_else(|| {
                ffi::condition("rscore_bad_schema", format!("column '{name}' has unknown type '{text}'"))
            })?;
            Ok(Column {
                name,
                kind,
                nullable: column.get("nullable").and_then(|nullable| nullable.flag()).unwrap_or(true),
                levels: column.get("levels").map(|levels| levels.strings()).unwrap_or_default(),
                unknown_level: UnknownLevel::Error,
            })
        })
        .collect()
}
