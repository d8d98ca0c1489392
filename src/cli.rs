//! The command line: one file per subcommand, each with its arguments. This
//! file has the tree, loads the settings that a subcommand needs, and hands over.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 64 bad configuration.

pub mod arguments;
pub mod batch;
pub mod capacity;
pub mod check;
pub mod completions;
pub mod config;
pub mod health;
pub mod man;
pub mod models;
pub mod output;
pub mod serve;
pub mod token;
pub mod trial;
pub mod worker;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::arguments::SettingsArguments;
use crate::config::{ConfigError, Environment, FlagValue, Loaded, Purpose, Settings, Sources, load};
use crate::telemetry::{build, logging};

/// Exit code for a configuration with mistakes: `EX_USAGE` of BSD's `sysexits.h`.
pub const BAD_CONFIGURATION: u8 = 64;

/// What `rscore` was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "rscore",
    version,
    long_version = build::description(),
    about = "Serve R models over HTTPS, with numbers equal to R's",
    after_help = "Examples:\n  \
        rscore serve --models models --dev      try it out on this machine\n  \
        rscore check models/boston/1            see what a model needs and whether it can be served\n  \
        rscore batch run job.toml               score files of a store\n  \
        rscore config --reference               read about every setting",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArguments),
    Batch(batch::BatchArguments),
    Check(check::CheckArguments),
    Capacity(capacity::CapacityArguments),
    Models(models::ModelsArguments),
    Token(TokenCommand),
    Config(config::ConfigArguments),
    Health(health::HealthArguments),
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
    Worker(worker::WorkerArguments),
}

/// Mint a token with the server's signing key
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    rscore token --subject alice --scope score:boston\n  \
    TOKEN=$(rscore token --config rscore.toml --subject app --scope 'score:*' --ttl 8h)")]
struct TokenCommand {
    #[command(flatten)]
    settings: SettingsArguments,
    #[command(flatten)]
    token: token::TokenArguments,
}

/// Does what the process's arguments ask for.
pub fn run() -> ExitCode {
    match CommandLine::try_parse() {
        Ok(command_line) => dispatch(command_line.command),
        Err(error) => {
            // Help and version go to standard output with code 0, mistakes to
            // standard error with code 2. There is nobody to tell when that fails.
            _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Serve(mut arguments) => {
            let purpose = if arguments.dev { Purpose::Development } else { Purpose::Serve };
            with_settings(&arguments.settings.clone(), arguments.server.flags(), purpose, |loaded| {
                arguments.dev = loaded.purpose == Purpose::Development;
                with_logging(loaded, |loaded| serve::run(&arguments, loaded.settings))
            })
        }
        Command::Check(arguments) => try_out(&arguments.trial, |settings| check::run(&arguments, settings)),
        Command::Capacity(arguments) => try_out(&arguments.trial, |settings| capacity::run(&arguments, settings)),
        Command::Models(arguments) => {
            with_settings(arguments.settings(), Vec::new(), Purpose::Tool, |loaded| match arguments.draws() {
                true => models::run(&arguments, &loaded.settings),
                false => with_logging(loaded, |loaded| models::run(&arguments, &loaded.settings)),
            })
        }
        Command::Batch(arguments) => {
            with_settings(&arguments.settings().clone(), arguments.flags(), Purpose::Tool, |loaded| {
                with_logging(loaded, |loaded| batch::run(&arguments, loaded.settings))
            })
        }
        Command::Token(arguments) => with_settings(&arguments.settings, Vec::new(), Purpose::Tool, |loaded| {
            match token::run(&arguments.token, &loaded.settings.auth) {
                Ok(token) => output::print(&format!("{token}\n")),
                Err(error) => output::fail(&error),
            }
        }),
        Command::Config(arguments) => {
            if arguments.reference {
                return config::print_reference();
            }
            let purpose = if arguments.dev { Purpose::Development } else { Purpose::Tool };
            with_settings(&arguments.settings, arguments.server.flags(), purpose, |loaded| config::print(&loaded))
        }
        Command::Health(arguments) => with_settings(&arguments.settings, arguments.flags(), Purpose::Tool, |loaded| {
            health::run(&arguments, loaded.settings.server.admin_listen)
        }),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
    }
}

/// Loads the settings and goes on with them, or reports every mistake.
fn with_settings(
    arguments: &SettingsArguments,
    flags: Vec<FlagValue>,
    purpose: Purpose,
    go_on: impl FnOnce(Loaded) -> ExitCode,
) -> ExitCode {
    let loaded = Environment::from_process().and_then(|environment| {
        load(&Sources { file: arguments.config.clone(), directory: ".".into(), environment, flags, purpose })
    });
    match loaded {
        Ok(loaded) => go_on(loaded),
        Err(error) => bad_configuration(&error),
    }
}

/// Loads the settings of a trial, starts the log, and goes on.
fn try_out(arguments: &trial::TrialArguments, go_on: impl FnOnce(Settings) -> ExitCode) -> ExitCode {
    with_settings(&arguments.settings, arguments.flags(), Purpose::Tool, |loaded| {
        with_logging(loaded, |loaded| go_on(loaded.settings))
    })
}

/// Starts the log and goes on.
fn with_logging(loaded: Loaded, go_on: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match logging::init(&loaded.settings.log) {
        Ok(()) => go_on(loaded),
        Err(problem) => bad_configuration(&problem.into()),
    }
}

fn bad_configuration(error: &ConfigError) -> ExitCode {
    output::complain(error);
    ExitCode::from(BAD_CONFIGURATION)
}

#[cfg(test)]
mod tests;
