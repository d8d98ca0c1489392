//! `rscore worker`: the process that embeds R. The other roles start it and
//! talk to it over a socket; it takes nothing from files or the environment.

use std::process::ExitCode;

use clap::Args;

use super::output;

/// Run R behind the worker protocol (started by rscore itself)
#[derive(Debug, Clone, Args)]
#[command(hide = true)]
pub struct WorkerArguments {}

/// Serves the process that started this one.
pub fn run(_arguments: &WorkerArguments) -> ExitCode {
    match crate::worker::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}
