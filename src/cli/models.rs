//! `rscore models`: what a store has, and a copy of it for an init container or
//! an image.

mod list;
mod pull;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::arguments::SettingsArguments;
use super::{BAD_CONFIGURATION, output};
use crate::config::{ProviderVariables, Settings};
use crate::store::{Location, Store, StoreErrorKind};

/// List the models of a repository in blob storage, or fetch them
///
/// Account, keys and endpoint come from the environment: AZURE_..., AWS_... or GOOGLE_... as the providers' own tools
/// read them.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
        rscore models list az://models/production\n  \
        rscore models pull s3://models/production /models")]
pub struct ModelsArguments {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum ModelsCommand {
    /// Show versions, files and sizes
    List {
        /// The repository: az://container/path, s3://bucket/path, gs://bucket/path or a folder
        #[arg(value_name = "URL")]
        url: String,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArguments,
    },
    /// Fetch every version into a folder that `rscore serve --models` can serve
    ///
    /// What is there and unchanged is not fetched again. Ends with code 1 when a version could not be fetched.
    Pull {
        /// The repository: az://container/path, s3://bucket/path, gs://bucket/path or a folder
        #[arg(value_name = "URL")]
        url: String,
        /// The folder; it is made when it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArguments,
    },
}

impl ModelsArguments {
    /// Where settings come from.
    pub fn settings(&self) -> &SettingsArguments {
        match &self.command {
            ModelsCommand::List { settings, .. } | ModelsCommand::Pull { settings, .. } => settings,
        }
    }

    /// Whether a progress bar is drawn, which log lines would break.
    pub fn draws(&self) -> bool {
        matches!(self.command, ModelsCommand::Pull { .. }) && std::io::stderr().is_terminal()
    }
}

/// Does what was asked for.
pub fn run(arguments: &ModelsArguments, settings: &Settings) -> ExitCode {
    let (ModelsCommand::List { url, .. } | ModelsCommand::Pull { url, .. }) = &arguments.command;
    let opened = Location::parse(url)
        .and_then(|location| Store::open(&location, &settings.store, &ProviderVariables::from_process()));
    let store = match opened {
        Ok(store) => store,
        Err(error) if error.kind() == StoreErrorKind::Invalid => {
            output::complain(&error);
            return ExitCode::from(BAD_CONFIGURATION);
        }
        Err(error) => return output::fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("the runtime can't be started: {error}")),
    };
    match &arguments.command {
        ModelsCommand::List { .. } => runtime.block_on(list::run(&store, &settings.models)),
        ModelsCommand::Pull { directory, .. } => {
            runtime.block_on(pull::run(store, directory, &settings.models, arguments.draws()))
        }
    }
}
