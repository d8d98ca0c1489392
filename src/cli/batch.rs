//! `rscore batch`: scores partitions of blob storage. One file per verb; this one
//! has the tree and the exit codes, which engines decide by.

mod plan;
mod progress;
mod run;
mod target;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::arguments::{SettingsArguments, flag_value};
use super::output;
use crate::batch::job::Job;
use crate::config::reference::flag_help;
use crate::config::{FlagValue, Settings};

/// The job, the bundle or the credentials are wrong: running it again changes nothing.
pub const REFUSED: u8 = 10;

/// All is settled, and over a threshold.
pub const OVER_THRESHOLD: u8 = 11;

/// The run was cancelled.
pub const CANCELLED: u8 = 12;

/// It was interrupted, or could not go on: run it again (`EX_TEMPFAIL`).
pub const RUN_AGAIN: u8 = 75;

/// Score files of a store in partitions: resumable, exactly once, on one machine or many
///
/// Exit codes: 0 complete and within the job's thresholds; 10 job, bundle or credentials are wrong; 11 complete and
/// over a threshold; 12 cancelled; 75 interrupted, run it again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch plan job.toml                          what would be scored; starts no R\n  \
    rscore batch run job.toml                           score it\n  \
    rscore batch run job.toml --run-id monday --resume  go on with a run that was interrupted")]
pub struct BatchArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::PlanArguments),
    Run(run::RunArguments),
    Status(watch::StatusArguments),
    Logs(watch::LogsArguments),
    Report(watch::ReportArguments),
    Cancel(watch::CancelArguments),
    Retry(watch::RetryArguments),
    Cron(plan::CronArguments),
}

/// What all verbs that need stores have.
#[derive(Debug, Clone, Args)]
pub(super) struct CommonArguments {
    /// The job file
    #[arg(value_name = "JOB")]
    job: PathBuf,
    #[command(flatten)]
    settings: SettingsArguments,
}

impl BatchArguments {
    /// Where settings come from.
    pub fn settings(&self) -> &SettingsArguments {
        match &self.verb {
            Verb::Plan(arguments) => &arguments.common.settings,
            Verb::Run(arguments) => &arguments.common.settings,
            Verb::Status(arguments) => &arguments.target.settings,
            Verb::Logs(arguments) => &arguments.target.settings,
            Verb::Report(arguments) => &arguments.target.settings,
            Verb::Cancel(arguments) => &arguments.target.settings,
            Verb::Retry(arguments) => &arguments.target.settings,
            Verb::Cron(arguments) => &arguments.common.settings,
        }
    }

    /// Settings that were given as flags.
    pub fn flags(&self) -> Vec<FlagValue> {
        match &self.verb {
            Verb::Run(arguments) => [
                flag_value("workers.count", "--workers", arguments.workers.as_ref()),
                flag_value("server.admin_listen", "--admin-listen", arguments.admin_listen.as_ref()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            _ => Vec::new(),
        }
    }
}

/// Does what was asked for.
pub fn run(arguments: &BatchArguments, settings: Settings) -> ExitCode {
    match &arguments.verb {
        Verb::Plan(arguments) => plan::plan(arguments, &settings),
        Verb::Run(arguments) => run::run(arguments, settings),
        Verb::Status(arguments) => watch::status(arguments, &settings),
        Verb::Logs(arguments) => watch::logs(arguments, &settings),
        Verb::Report(arguments) => watch::report(arguments, &settings),
        Verb::Cancel(arguments) => watch::cancel(arguments, &settings),
        Verb::Retry(arguments) => watch::retry(arguments, &settings),
        Verb::Cron(arguments) => plan::cron(arguments),
    }
}

/// Reads a job file.
fn read_job(path: &std::path::Path) -> Result<Job, ExitCode> {
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
    Job::parse(&text).map_err(|error| refuse(&format!("{}: {error}", path.display())))
}

fn refuse(reason: &impl std::fmt::Display) -> ExitCode {
    output::complain(reason);
    ExitCode::from(REFUSED)
}
