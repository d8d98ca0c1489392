//! `rscore token`: mints a token with the server's signing key.

use std::time::Duration;

use clap::Args;

use crate::auth::Verifier;
use crate::auth::mint::{MintError, Minter};
use crate::auth::scope::{Grant, UnknownScope};
use crate::config::duration;
use crate::config::settings::AuthSettings;

/// Longest life of a token: a leap year. What needs longer needs a key of its own.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Longest subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 256;

/// Arguments of `rscore token`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  rscore token --subject app --scope score:boston
  rscore token --subject ci --scope 'score:* models:read' --ttl 15m
  rscore token --subject ops --scope admin --ttl 720h
  curl -H \"Authorization: Bearer $(rscore token --subject me --scope 'score:*')\" https://localhost:8443/models")]
pub struct TokenArguments {
    /// Who the token is for; it appears in the server's log.
    #[arg(long, value_name = "NAME", value_parser = parse_subject)]
    pub subject: String,
    /// What the token allows; give it several times, or several scopes in one text.
    /// One of score:MODEL, score:*, models:read, models:write, jobs:*, admin.
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = parse_scopes)]
    pub scopes: Vec<Scopes>,
    /// How long the token is good, such as 15m, 1h or 720h (30 days); at most 366 days.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_lifetime)]
    pub ttl: Duration,
}

/// The scopes of one `--scope`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(pub Vec<Grant>);

/// Mints the token and checks that this server's own keys accept it.
///
/// # Errors
/// Without a usable key, or when the settings' verification keys don't know it.
pub fn run(arguments: &TokenArguments, settings: &AuthSettings) -> Result<String, MintError> {
    let grants: Vec<Grant> = arguments.scopes.iter().flat_map(|scopes| scopes.0.iter().cloned()).collect();
    let token = Minter::from_settings(settings)?.mint(&arguments.subject, &grants, arguments.ttl)?;
    // Where no key is configured, this machine only mints.
    if !settings.keys.is_empty() || settings.hs256_secret_file.is_some() {
        Verifier::from_settings(settings)?.verify(&token).map_err(MintError::Refused)?;
    }
    Ok(token)
}

fn parse_subject(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_SUBJECT_BYTES || text.contains(char::is_control) {
        return Err(format!("a subject has 1 to {MAX_SUBJECT_BYTES} bytes and no control characters"));
    }
    Ok(text.to_owned())
}

fn parse_scopes(text: &str) -> Result<Scopes, UnknownScope> {
    if text.trim().is_empty() {
        return text.parse().map(|grant| Scopes(vec![grant]));
    }
    text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Scopes)
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration::parse(text)?;
    if !(Duration::from_secs(1)..=MAX_LIFETIME).contains(&lifetime) {
        return Err(format!("'{text}' is out of bounds; a token lives from 1s to 366 days (8784h)"));
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests;
