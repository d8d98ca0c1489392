//! `rscore check`: loads one bundle as `serve` would, so that its verdict holds
//! there, and reports on it.

mod report;
mod timing;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::trial::TrialArguments;
use super::{output, trial};
use crate::config::Settings;
use crate::scoring::load::load;

/// Load one model version and say what it needs, what it gives and how fast it is
///
/// Ends with code 1 when the version could not be served.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  rscore check models/boston/1\n  rscore check --config rscore.toml models/boston/2"
)]
pub struct CheckArguments {
    /// What is checked.
    #[command(flatten)]
    pub trial: TrialArguments,
}

/// Checks one bundle.
pub fn run(arguments: &CheckArguments, settings: Settings) -> ExitCode {
    let directory = &arguments.trial.directory;
    let checked = trial::run(async {
        let checked = check(directory, &settings).await;
        checked.map_err(|reason| format!("{} can't be served: {reason}", directory.display()))
    });
    match checked {
        Ok(report) => output::print(&report),
        Err(code) => code,
    }
}

/// Loads the version as `serve` would, on one worker, and tries it out.
async fn check(directory: &Path, settings: &Settings) -> Result<String, String> {
    let context = trial::context(settings, 1)?;
    let (name, version) = trial::model_and_version(directory);
    let started = Instant::now();
    let loaded = load(&name, version, directory.to_owned(), &context).await.map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let timings = timing::measure(&loaded).await;
    let workers = context.upkeep.sizing.workers_beside(trial::zygote_bytes(&loaded));
    loaded.pool.stop().await;
    timings.map(|timings| report::render(directory, &loaded, took, &timings, workers))
}
