//! Mistakes in key files, in words for whoever configures the server.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::pem::PemError;

/// Why no verifier could be made.
#[derive(Debug)]
pub enum KeyErrors {
    /// No key is configured.
    NoKey,
    /// More keys than are allowed.
    TooMany {
        /// Keys in all files.
        count: usize,
        /// Most that may be configured.
        limit: usize,
    },
    /// One mistake per file, of every file that has one.
    InFiles(Vec<KeyError>),
}

/// A mistake and the file it is in.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct KeyError {
    /// The file, as the settings name it.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: KeyProblem,
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file can't be read or is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A private key in a file of public keys.
    #[error(
        "holds a private key where a public one belongs; keep it away from the server and configure \
         the output of 'openssl pkey -in FILE -pubout'"
    )]
    PrivateKey,
    /// A certificate in a file of public keys.
    #[error(
        "holds a certificate where a public key belongs; configure the output of 'openssl x509 -in FILE -noout -pubkey'"
    )]
    Certificate,
    /// Bytes that are no key.
    #[error("key {position} of the file can't be decoded: {reason}")]
    Undecodable {
        /// Counted from 1.
        position: usize,
        /// What the decoder said.
        reason: String,
    },
    /// A kind of key that verifies none of the algorithms.
    #[error("key {position} of the file is {kind}; supported are RSA of 2048 to 8192 bits, EC P-256 and Ed25519")]
    Unsupported {
        /// Counted from 1.
        position: usize,
        /// What it is.
        kind: String,
    },
    /// A JWK set that is not one.
    #[error("is not a JWK set, {{\"keys\": [...]}}: {0}")]
    NotJwkSet(String),
    /// A JWK set of which nothing can be used.
    #[error("has no key that can verify tokens{}", list(.0))]
    NothingUsable(Vec<String>),
    /// A secret that can be guessed.
    #[error(
        "holds a secret of {0} bytes; HS256 needs at least 32 (RFC 7518 section 3.2), for example from 'openssl rand -base64 48'"
    )]
    ShortSecret(usize),
    /// A key file where a secret belongs.
    #[error("holds PEM where the secret of HS256 belongs; a public key as secret would let anyone sign")]
    PemAsSecret,
    /// A private key in a form that is not read.
    #[error(
        "must hold one private key as PKCS#8 ('-----BEGIN PRIVATE KEY-----'); convert it with 'openssl pkcs8 -topk8 -nocrypt -in FILE'"
    )]
    NotPkcs8,
    /// A private key that none of the algorithms signs with.
    #[error("holds a private key that is not RSA of 2048 to 8192 bits, EC P-256 or Ed25519")]
    UnsupportedSigningKey,
}

impl KeyError {
    pub(crate) fn new(path: &Path, problem: KeyProblem) -> Self {
        Self { path: path.to_owned(), problem }
    }
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("; {reason}")).collect()
}

impl fmt::Display for KeyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str(
                "there is no key to verify tokens with; set auth.keys to files with public keys (PEM or JWK set), \
                 or auth.hs256_secret_file",
            ),
            Self::TooMany { count, limit } => {
                write!(f, "auth.keys name {count} keys and at most {limit} are allowed; remove those that are retired")
            }
            Self::InFiles(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for KeyErrors {}
