//! The keys that vouch for tokens. A key has one algorithm, fixed when it is
//! loaded; the token's `alg` only picks among keys and never decides how a key
//! is used (RFC 8725 sections 2.1 and 3.1). That makes `none`, and a public key
//! taken for an HMAC secret, impossible rather than checked for.

mod error;
mod jwks;
mod public;
mod secret;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};

pub use error::{KeyError, KeyErrors, KeyProblem};
pub(crate) use secret::read_secret;

use super::AuthFailure;
use super::claims::Claims;
use crate::config::settings::AuthSettings;
use crate::pem;

/// Most keys that may be configured. A token without `kid` is tried with each
/// key of its algorithm, so this bounds the work that a forged one can cause.
const MAX_KEYS: usize = 64;

/// Largest key file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A key with the one algorithm that it verifies.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    /// Key id, from a JWK set.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

/// All keys that verify tokens; never empty.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
}

impl VerificationKey {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Self {
        // Claims are checked in `claims`, with our own reasons and without
        // the arithmetic of the library, which a large leeway overflows.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { id, algorithm, key, validation }
    }

    /// Whether a token with this header may have been signed by this key.
    fn fits(&self, header: &Header) -> bool {
        self.algorithm == header.alg
            && match (&self.id, &header.kid) {
                (Some(ours), Some(theirs)) => ours == theirs,
                _ => true,
            }
    }
}

impl KeySet {
    /// Loads every key file of the settings.
    ///
    /// # Errors
    /// All mistakes in all files at once.
    pub(crate) fn load(settings: &AuthSettings) -> Result<Self, KeyErrors> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for path in &settings.keys {
            match load_file(path) {
                Ok(loaded) => keys.extend(loaded),
                Err(problem) => errors.push(KeyError::new(path, problem)),
            }
        }
        if let Some(path) = &settings.hs256_secret_file {
            match read_secret(path) {
                Ok(secret) => {
                    keys.push(VerificationKey::new(None, Algorithm::HS256, DecodingKey::from_secret(&secret)))
                }
                Err(problem) => errors.push(KeyError::new(path, problem)),
            }
        }
        if !errors.is_empty() {
            return Err(KeyErrors::InFiles(errors));
        }
        match keys.len() {
            0 => Err(KeyErrors::NoKey),
            count if count > MAX_KEYS => Err(KeyErrors::TooMany { count, limit: MAX_KEYS }),
            _ => Ok(Self { keys }),
        }
    }

    /// Verifies the signature of a compact JWT and decodes its claims, which
    /// are not checked yet.
    pub(crate) fn decode(&self, token: &str) -> Result<Claims, AuthFailure> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            // Good JSON, but no header of the library: an `alg` that it
            // doesn't have, such as `none`.
            ErrorKind::Json(error) if error.is_data() => AuthFailure::Algorithm,
            _ => AuthFailure::Malformed,
        })?;
        // Extensions that must be understood, and none is (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(AuthFailure::Malformed);
        }
        if !self.keys.iter().any(|key| key.algorithm == header.alg) {
            return Err(AuthFailure::Algorithm);
        }
        let mut failure = AuthFailure::UnknownKey;
        for key in self.keys.iter().filter(|key| key.fits(&header)) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => {
                        return Err(AuthFailure::Malformed);
                    }
                    _ => failure = AuthFailure::Signature,
                },
            }
        }
        Err(failure)
    }
}

/// Loads a PEM file or a JWK set; the first character tells them apart.
pub(crate) fn load_file(path: &std::path::Path) -> Result<Vec<VerificationKey>, KeyProblem> {
    let bytes = pem::read_bounded(path, MAX_FILE_BYTES).map_err(pem::PemError::from)?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        let set = jwks::parse(&bytes)?;
        for reason in &set.skipped {
            tracing::warn!(file = %path.display(), "a key of the JWK set is left out: {reason}");
        }
        Ok(set.keys)
    } else {
        public::parse(&bytes)
    }
}

#[cfg(test)]
mod tests;
