//! `rscore token`: mints a token with the server's signing key.

use clap::Args;

use crate::config::settings::AuthSettings;

/// What the token says.
#[derive(Debug, Clone, Args)]
pub struct TokenArguments {
    /// Who the token is for (`sub`)
    #[arg(long)]
    pub subject: String,
}

/// Mints the token.
///
/// # Errors
/// Always, in this binary.
pub fn run(_arguments: &TokenArguments, _settings: &AuthSettings) -> Result<String, String> {
    Err("token is not built into this binary yet".to_owned())
}
