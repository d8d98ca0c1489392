//! Who is calling and what may they do: keys, claims and scopes. Knows no HTTP.
//!
//! Sources: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7519 (JWT), RFC 8725 (JWT best
//! current practices), RFC 6750 (bearer tokens), RFC 8037 (Ed25519 in JOSE).

pub mod bearer;
pub mod claims;
pub mod development;
pub mod failure;
pub mod keys;
pub mod mint;
pub mod scope;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

pub use bearer::bearer;
pub use failure::AuthFailure;
pub use keys::KeyErrors;
pub use scope::Scope;

use quick_cache::sync::Cache;

use crate::config::settings::AuthSettings;
use claims::{Claims, Expectations};
use keys::KeySet;
use scope::Grants;

/// Longest token that is looked at, in bytes. Checked before anything is
/// parsed; common proxies stop at 8 KiB of request head as well.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Tokens whose verification is remembered. A signature costs tens of
/// microseconds to check, and callers send the same token many times.
const REMEMBERED_TOKENS: usize = 10_000;

/// Verifies bearer tokens.
#[derive(Debug)]
pub struct Verifier {
    settings: AuthSettings,
    expectations: Expectations,
    current: RwLock<Arc<Current>>,
}

/// Keys, and what they vouched for: both are exchanged as one, so that a key
/// which is taken away vouches for nothing any more.
#[derive(Debug)]
struct Current {
    keys: KeySet,
    /// By SHA-256 of the token, so that a copy of memory holds no usable token.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

/// What a signature vouched for.
#[derive(Debug)]
struct Verified {
    claims: Claims,
    principal: Principal,
}

/// A caller whose token was verified.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The token's `sub`; empty when it has none.
    pub subject: Arc<str>,
    grants: Arc<Grants>,
}

impl Verifier {
    /// Loads the keys that the settings name.
    ///
    /// # Errors
    /// Every mistake in every key file at once; also when no key is named.
    pub fn from_settings(settings: &AuthSettings) -> Result<Self, KeyErrors> {
        Ok(Self {
            settings: settings.clone(),
            expectations: Expectations::from_settings(settings),
            current: RwLock::new(Arc::new(Current::load(settings)?)),
        })
    }

    /// Reads the key files again; from now on only their keys vouch for tokens.
    /// The keys from before stay in use when the files are wrong.
    ///
    /// # Errors
    /// As for [`Verifier::from_settings`].
    pub fn reload(&self) -> Result<(), KeyErrors> {
        let next = Arc::new(Current::load(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Checks signature and claims of a compact JWT, in this order: a claim is
    /// not looked at before a key vouched for it.
    pub fn verify(&self, token: &str) -> Result<Principal, AuthFailure> {
        self.verify_at(token, unix_seconds(SystemTime::now()))
    }

    fn verify_at(&self, token: &str, now: f64) -> Result<Principal, AuthFailure> {
        if token.is_empty() {
            return Err(AuthFailure::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthFailure::TooLong);
        }
        let key = sha256(token);
        // The claims are checked each time, so that a token which expires is refused
        // from that moment; only the signature is remembered.
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(verified) = current.verified.get(&key) {
            self.expectations.check(&verified.claims, now)?;
            return Ok(verified.principal.clone());
        }
        let claims = current.keys.decode(token)?;
        self.expectations.check(&claims, now)?;
        let principal =
            Principal { subject: claims.sub.clone().unwrap_or_default().into(), grants: Arc::new(claims.grants()) };
        current.verified.insert(key, Arc::new(Verified { claims, principal: principal.clone() }));
        Ok(principal)
    }
}

impl Current {
    fn load(settings: &AuthSettings) -> Result<Self, KeyErrors> {
        Ok(Self { keys: KeySet::load(settings)?, verified: Cache::new(REMEMBERED_TOKENS) })
    }
}

impl Principal {
    /// Whether the token's scopes and roles cover what a route needs.
    pub fn allows(&self, scope: &Scope) -> bool {
        self.grants.allow(scope)
    }
}

fn sha256(token: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(digest.as_ref());
    key
}

/// A `NumericDate` (RFC 7519 section 2): seconds since 1970, fraction kept.
fn unix_seconds(time: SystemTime) -> f64 {
    // A clock that stands before 1970 tells nothing: then every token is late.
    time.duration_since(UNIX_EPOCH).map_or(f64::INFINITY, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
