//! Signs tokens with the server's own key: for `rscore token`, and later for a
//! login. What is minted here passes [`Verifier`](super::Verifier) with the
//! same settings.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::SectionKind;
use serde::Serialize;

use super::AuthFailure;
use super::keys::{KeyError, KeyProblem, read_secret};
use super::scope::Grant;

use crate::config::settings::AuthSettings;
use crate::pem;

/// Largest file with a signing key, in bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Signs tokens with one key and its one algorithm.
#[derive(Debug)]
pub struct Minter {
    key: SigningKey,
    issuer: Option<String>,
    audience: Option<String>,
}

/// Why a token could not be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nothing to sign with.
    #[error("there is no key to sign with; set auth.signing_key to a PKCS#8 private key, or auth.hs256_secret_file")]
    NoKey,
    /// The key file is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys of the settings, which check the new token, are not usable.
    #[error("the keys that verify tokens can't be loaded: {0}")]
    VerificationKeys(#[from] super::KeyErrors),
    /// The server would refuse its own token.
    #[error("this server would refuse the token ({}); auth.keys must name the public half of auth.signing_key", .0.reason())]
    Refused(AuthFailure),
    /// The library could not sign.
    #[error("signing failed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// The claims of a minted token (RFC 7519 section 4.1, RFC 8693 section 4.2).
#[derive(Serialize)]
struct MintedClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    scope: String,
    iat: u64,
    exp: u64,
    jti: String,
}

/// A key that signs with one algorithm.
#[derive(Debug)]
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Minter {
    /// Takes the signing key of the settings, else the secret of HS256.
    pub fn from_settings(settings: &AuthSettings) -> Result<Self, MintError> {
        let loaded = match (&settings.signing_key, &settings.hs256_secret_file) {
            (Some(path), _) => SigningKey::load(path).map_err(|problem| KeyError::new(path, problem)),
            (None, Some(path)) => read_secret(path)
                .map(|secret| SigningKey { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(&secret) })
                .map_err(|problem| KeyError::new(path, problem)),
            (None, None) => return Err(MintError::NoKey),
        };
        Ok(Self { key: loaded?, issuer: settings.issuer.clone(), audience: settings.audience.clone() })
    }

    /// Signs a token for `subject` with `grants`, good for `lifetime` from now
    /// (whole seconds).
    pub fn mint(&self, subject: &str, grants: &[Grant], lifetime: Duration) -> Result<String, MintError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let scopes: Vec<String> = grants.iter().map(Grant::to_string).collect();
        let claims = MintedClaims {
            iss: self.issuer.as_deref(),
            sub: subject,
            aud: self.audience.as_deref(),
            scope: scopes.join(" "),
            iat: now,
            exp: now.saturating_add(lifetime.as_secs()),
            jti: uuid::Uuid::now_v7().to_string(),
        };
        Ok(jsonwebtoken::encode(&Header::new(self.key.algorithm), &claims, &self.key.key)?)
    }
}

impl SigningKey {
    /// Reads one PKCS#8 private key; its kind decides the algorithm.
    pub(crate) fn load(path: &Path) -> Result<Self, KeyProblem> {
        let text = pem::read_bounded(path, MAX_KEY_BYTES).map_err(pem::PemError::from)?;
        let sections = pem::parse(&text)?;
        let [section] = sections.as_slice() else {
            return Err(KeyProblem::NotPkcs8);
        };
        if section.kind != SectionKind::PrivateKey {
            return Err(KeyProblem::NotPkcs8);
        }
        let der = section.der.as_slice();
        if Ed25519KeyPair::from_pkcs8(der).is_ok() {
            Ok(Self { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(der) })
        } else if EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).is_ok() {
            Ok(Self { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(der) })
        } else if RsaKeyPair::from_pkcs8(der).is_ok() {
            // The library signs with the PKCS#1 key inside, and takes it out of PEM only.
            let key = EncodingKey::from_rsa_pem(&text).map_err(|_| KeyProblem::UnsupportedSigningKey)?;
            Ok(Self { algorithm: Algorithm::RS256, key })
        } else {
            Err(KeyProblem::UnsupportedSigningKey)
        }
    }
}

#[cfg(test)]
mod tests;
