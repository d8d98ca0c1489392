//! What a route needs and what a token grants. Pure: text in, yes or no out.
//!
//! Scopes are matched whole. A grant is `score:` and one model name, or
//! `score:*`; there are no patterns, so no model name can widen a grant.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a route needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `score:<model>`
    Score(String),
    /// `models:read`
    ModelsRead,
    /// `models:write`
    ModelsWrite,
    /// `jobs:*`
    Jobs,
    /// `admin`
    Admin,
}

/// One scope of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `score:<model>`: one model.
    Score(String),
    /// `score:*`: every model.
    ScoreAny,
    /// `models:read`
    ModelsRead,
    /// `models:write`
    ModelsWrite,
    /// `jobs:*`
    Jobs,
    /// `admin`: everything.
    Admin,
}

/// All that a token grants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// Collects scopes and roles; what is unknown grants nothing.
    pub fn new<'a>(scopes: impl IntoIterator<Item = &'a str>, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants: BTreeSet<Grant> = scopes.into_iter().filter_map(|scope| scope.parse().ok()).collect();
        grants.extend(roles.into_iter().flat_map(role_grants).cloned());
        Self(grants)
    }

    /// Whether a route that needs `scope` is open.
    pub fn allow(&self, scope: &Scope) -> bool {
        let has = |grant: &Grant| self.0.contains(grant);
        has(&Grant::Admin)
            || match scope {
                Scope::Score(model) => has(&Grant::ScoreAny) || has(&Grant::Score(model.clone())),
                Scope::ModelsRead => has(&Grant::ModelsRead),
                Scope::ModelsWrite => has(&Grant::ModelsWrite),
                Scope::Jobs => has(&Grant::Jobs),
                Scope::Admin => false,
            }
    }
}

/// What a role stands for.
fn role_grants(role: &str) -> &'static [Grant] {
    match role {
        "owner" => &[Grant::Admin],
        "contributor" => &[Grant::ScoreAny, Grant::ModelsRead, Grant::ModelsWrite],
        "reader" => &[Grant::ScoreAny, Grant::ModelsRead],
        _ => &[],
    }
}

/// Text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a scope; the scopes are score:MODEL (one model), score:* (every model), models:read, models:write, \
     jobs:* and admin (everything)"
)]
pub struct UnknownScope(String);

impl FromStr for Grant {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        match text {
            "score:*" => Ok(Self::ScoreAny),
            "models:read" => Ok(Self::ModelsRead),
            "models:write" => Ok(Self::ModelsWrite),
            "jobs:*" => Ok(Self::Jobs),
            "admin" => Ok(Self::Admin),
            _ => match text.strip_prefix("score:") {
                Some(model) if is_model_name(model) => Ok(Self::Score(model.to_owned())),
                _ => Err(UnknownScope(text.chars().take(100).collect())),
            },
        }
    }
}

/// Whether text after `score:` can be one model. A `*` would look like a
/// pattern to whoever wrote it, and a space ends a scope (RFC 6749 section 3.3).
fn is_model_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control())
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score(model) => write!(f, "score:{model}"),
            Self::ModelsRead => f.write_str("models:read"),
            Self::ModelsWrite => f.write_str("models:write"),
            Self::Jobs => f.write_str("jobs:*"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score(model) => write!(f, "score:{model}"),
            Self::ScoreAny => f.write_str("score:*"),
            Self::ModelsRead => f.write_str("models:read"),
            Self::ModelsWrite => f.write_str("models:write"),
            Self::Jobs => f.write_str("jobs:*"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

#[cfg(test)]
mod tests;
