//! Who is calling and what may they do: keys, claims and scopes. Knows no HTTP.

use std::sync::Arc;

use crate::config::settings::AuthSettings;

/// Verifies bearer tokens.
pub struct Verifier {}

/// A caller whose token was verified.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The token's `sub`.
    pub subject: Arc<str>,
}

/// Why a token was refused; the name is the `reason` label of `rscore_auth_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthFailure {
    /// No token in the request.
    Missing,
}

/// What a route needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `score:<model>`
    Score(String),
    /// `models:read`
    ModelsRead,
}

impl Verifier {
    /// Loads the keys that the settings name.
    pub fn from_settings(_settings: &AuthSettings) -> Result<Self, String> {
        todo!()
    }

    /// Checks signature and claims of a compact JWT.
    pub fn verify(&self, _token: &str) -> Result<Principal, AuthFailure> {
        todo!()
    }
}

impl Principal {
    /// Whether the token's scopes cover what a route needs.
    pub fn allows(&self, _scope: &Scope) -> bool {
        todo!()
    }
}

impl AuthFailure {
    /// Label of the metric.
    pub fn reason(self) -> &'static str {
        todo!()
    }
}
