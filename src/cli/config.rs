//! `rscore config`: shows settings, the effective ones or all there are.

use std::process::ExitCode;

use clap::Args;

use super::arguments::{ServerArguments, SettingsArguments};
use super::output;
use crate::config::{Loaded, effective_toml, reference};

/// Show the effective settings and where each comes from
///
/// The output is a configuration file. Ends with code 64 and a list of all mistakes when there are any; what only
/// serving needs, a certificate and keys, is not asked for.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore config --config rscore.toml        see what applies, and why\n  \
    rscore config > rscore.toml               start a configuration file\n  \
    rscore config --reference                 read about every setting")]
pub struct ConfigArguments {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Settings that are flags.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Show the settings of development mode
    #[arg(long)]
    pub dev: bool,
    /// Describe every setting, as Markdown
    #[arg(long)]
    pub reference: bool,
}

/// Writes the effective settings to standard output.
pub fn print(loaded: &Loaded) -> ExitCode {
    output::print(&effective_toml(loaded))
}

/// Writes the description of all settings to standard output.
pub fn print_reference() -> ExitCode {
    output::print(&reference::as_markdown())
}
