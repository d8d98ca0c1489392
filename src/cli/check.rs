//! `rscore check`: loads one bundle and reports on it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::arguments::{SettingsArguments, flag_value};
use super::output;
use crate::config::reference::flag_help;
use crate::config::{FlagValue, Settings};

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
pub fn run(_arguments: &CheckArguments, _settings: Settings) -> ExitCode {
    output::fail(&"check is not built into this binary yet")
}
