//! What commands that try a model out share: their arguments, what they load it
//! with, its name, and rows to score.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow_array::RecordBatch;
use clap::Args;

use super::arguments::{SettingsArguments, flag_value};
use super::output;
use crate::config::reference::flag_help;
use crate::config::{FlagValue, Settings, worker_environment};
use crate::frame::rows;
use crate::frame::schema::Inputs;
use crate::lifecycle::Background;
use crate::pool::{Sizing, Upkeep, memory};
use crate::scoring::load::{LoadContext, LoadedVersion};
use crate::scoring::slots::ScoringSlots;

/// What is tried out.
#[derive(Debug, Clone, Args)]
pub struct TrialArguments {
    /// Folder of the version, the one that holds model.rds
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    #[arg(long, value_name = "COUNT", help = flag_help("workers.count"))]
    workers: Option<String>,
}

impl TrialArguments {
    /// The flags that stand for settings.
    pub fn flags(&self) -> Vec<FlagValue> {
        flag_value("workers.count", "--workers", self.workers.as_ref()).into_iter().collect()
    }
}

/// Runs a trial on a runtime of its own.
///
/// # Errors
/// The exit code, after what went wrong was said.
pub fn run<T>(trial: impl Future<Output = Result<T, String>>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| output::fail(&format!("the runtime can't be started: {error}")))?;
    runtime.block_on(trial).map_err(|reason| output::fail(&reason))
}

/// How a server that has only this version would load it, with at most so many
/// workers.
///
/// # Errors
/// The program does not know where it is.
pub fn context(settings: &Settings, most_workers: usize) -> Result<LoadContext, String> {
    let sizing = Sizing::of_this_process(&settings.workers, 1);
    let workers = sizing.workers.min(most_workers);
    Ok(LoadContext {
        executable: std::env::current_exe().map_err(|error| error.to_string())?,
        environment: worker_environment(&settings.workers),
        workers,
        upkeep: Upkeep { sizing, ..Upkeep::from(&settings.workers) },
        slots: ScoringSlots::new(workers),
        settings: settings.clone(),
        // A panic of a background task here is seen as what waits for it in vain.
        background: Background::new(),
    })
}

/// Size of the process that forks a version's workers, in bytes.
pub fn zygote_bytes(loaded: &LoadedVersion) -> u64 {
    loaded.pool.process_ids().first().copied().map_or(0, memory::resident_bytes)
}

/// Name and version of a bundle: the names of its folders, as in a repository.
pub fn model_and_version(directory: &Path) -> (String, u32) {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let name = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let version = name(Some(&directory)).and_then(|version| version.parse().ok()).unwrap_or(1);
    (name(directory.parent()).unwrap_or_else(|| "model".to_owned()), version)
}

/// So many rows for the model: those of its sample over again, else made up from
/// its columns. `None` where neither is possible.
///
/// # Errors
/// Why the sample can't be repeated.
pub fn inputs(loaded: &LoadedVersion, rows: usize) -> Result<Option<Inputs<RecordBatch>>, String> {
    let Some(sample) = &loaded.sample_inputs else {
        return Ok(rows::from_schemas(&loaded.info.schemas, rows));
    };
    if sample.as_single().is_none() {
        // Rows of several inputs belong together; they can't be repeated one by one.
        return Ok(None);
    }
    sample
        .iter()
        .map(|(name, batch)| Ok((name.to_owned(), rows::repeat(batch, rows).map_err(|error| error.to_string())?)))
        .collect::<Result<Vec<_>, String>>()
        .map(|frames| Some(Inputs::named(frames)))
}
