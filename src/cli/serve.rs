//! `rscore serve`: the server.

use std::process::ExitCode;

use clap::Args;

use super::arguments::{ServerArguments, SettingsArguments};
use super::output;
use crate::config::{Settings, reference};

/// Serve models over HTTPS
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  \
        rscore serve --models models --dev\n  \
        rscore serve --config rscore.toml\n  \
        rscore serve --models models --tls-certificate server.pem --tls-key server-key.pem --auth-key tokens.pem",
    after_long_help = format!(
        "Examples:\n  \
        rscore serve --models models --dev\n  \
        rscore serve --config rscore.toml\n  \
        rscore serve --models models --tls-certificate server.pem --tls-key server-key.pem --auth-key tokens.pem\n\n{}",
        reference::as_help()
    )
)]
pub struct ServeArguments {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Settings that are flags.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Try it out: listen on loopback only, with a throw-away certificate and signing key [environment: RSCORE_DEV]
    #[arg(long)]
    pub dev: bool,
}

/// Serves until it is told to stop.
pub fn run(_arguments: &ServeArguments, _settings: Settings) -> ExitCode {
    output::fail(&"serve is not built into this binary yet")
}
