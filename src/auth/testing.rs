//! Keys and tokens for tests, made at run time so that none is in the repository.

#![expect(clippy::unwrap_used, reason = "only tests use it")]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::unix_seconds;
use crate::config::settings::AuthSettings;

/// A key pair with its algorithm.
pub(crate) struct Pair {
    pub(crate) algorithm: Algorithm,
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
}

/// One pair per asymmetric algorithm; made once, since RSA takes its time.
pub(crate) static PAIRS: LazyLock<[Pair; 3]> =
    LazyLock::new(|| [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(Pair::generate));

impl Pair {
    pub(crate) fn generate(algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate_for(match algorithm {
            Algorithm::RS256 => &PKCS_RSA_SHA256,
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &PKCS_ED25519,
            other => panic!("no pair for {other:?}"),
        })
        .unwrap();
        Self { algorithm, private_pem: pair.serialize_pem(), public_pem: pair.public_key_pem() }
    }

    pub(crate) fn encoding_key(&self) -> EncodingKey {
        let pem = self.private_pem.as_bytes();
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem).unwrap(),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem).unwrap(),
            _ => EncodingKey::from_ed_pem(pem).unwrap(),
        }
    }

    /// A token with these claims and the pair's algorithm.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(None, claims)
    }

    /// [`Pair::sign`] with a `kid`.
    pub(crate) fn sign_as(&self, key_id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: key_id.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding_key()).unwrap()
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self, extra: &Value) -> Value {
        let pem = self.public_pem.as_bytes();
        let key = match self.algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
            _ => DecodingKey::from_ed_pem(pem),
        };
        let jwk = jsonwebtoken::jwk::Jwk::from_decoding_key(&key.unwrap(), Some(self.algorithm)).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        let members = jwk.as_object_mut().unwrap();
        for (name, value) in extra.as_object().unwrap() {
            match value {
                Value::Null => drop(members.remove(name)),
                value => drop(members.insert(name.clone(), value.clone())),
            }
        }
        jwk
    }
}

/// A directory of files for one test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Settings with one file of keys.
    pub(crate) fn settings(&self, keys: impl AsRef<[u8]>) -> AuthSettings {
        AuthSettings { keys: vec![self.write("keys", keys)], ..AuthSettings::default() }
    }

    /// Settings with a secret for HS256.
    pub(crate) fn secret_settings(&self, secret: impl AsRef<[u8]>) -> AuthSettings {
        AuthSettings { hs256_secret_file: Some(self.write("secret", secret)), ..AuthSettings::default() }
    }
}

/// Claims of a token for `app` that scores `boston`, good for a minute.
pub(crate) fn claims() -> Value {
    json!({"sub": "app", "scope": "score:boston", "exp": now() + 60.0})
}

/// The present, in seconds since 1970.
pub(crate) fn now() -> f64 {
    unix_seconds(SystemTime::now())
}
