//! `rscore check`: loads one bundle as `serve` would, so that its verdict holds
//! there, and reports on it.

mod report;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::arguments::{SettingsArguments, flag_value};
use super::{output, trial};
use crate::app;
use crate::config::reference::flag_help;
use crate::config::{FlagValue, Settings, worker_environment};
use crate::lifecycle::Background;
use crate::pool::Upkeep;
use crate::scoring::load::{LoadContext, load};
use crate::scoring::slots::ScoringSlots;

/// Load one model version and say what it needs, what it gives and how fast it is
///
/// Ends with code 1 when the version could not be served.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  rscore check models/boston/1\n  rscore check --config rscore.toml models/boston/2"
)]
pub struct CheckArguments {
    /// Folder of the version, the one that holds model.rds
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    #[arg(long, value_name = "COUNT", help = flag_help("workers.count"))]
    workers: Option<String>,
}

impl CheckArguments {
    /// The flags that were given.
    pub fn flags(&self) -> Vec<FlagValue> {
        flag_value("workers.count", "--workers", self.workers.as_ref()).into_iter().collect()
    }
}

/// Checks one bundle.
pub fn run(arguments: &CheckArguments, settings: Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("the runtime can't be started: {error}")),
    };
    match runtime.block_on(check(&arguments.directory, &settings)) {
        Ok(report) => output::print(&report),
        Err(reason) => output::fail(&format!("{} can't be served: {reason}", arguments.directory.display())),
    }
}

/// Loads the version as `serve` would, on one worker, and tries it out.
async fn check(directory: &Path, settings: &Settings) -> Result<String, String> {
    let context = LoadContext {
        executable: std::env::current_exe().map_err(|error| error.to_string())?,
        environment: worker_environment(&settings.workers),
        workers: 1,
        upkeep: Upkeep::from(&settings.workers),
        slots: ScoringSlots::new(1),
        settings: settings.clone(),
        // A panic of a background task here is seen as what waits for it in vain.
        background: Background::new(),
    };
    let (name, version) = trial::model_and_version(directory);
    let started = Instant::now();
    let loaded = load(&name, version, directory.to_owned(), &context).await.map_err(|error| error.to_string())?;
    let took = started.elapsed();
    let timings = timing::measure(&loaded).await;
    loaded.pool.stop().await;
    timings.map(|timings| report::render(directory, &loaded, took, &timings, app::worker_count(settings)))
}
