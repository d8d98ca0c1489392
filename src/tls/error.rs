//! Mistakes in certificate and key files, in words for whoever configures the
//! server.

use std::fmt;
use std::path::PathBuf;

use crate::pem::PemError;

/// Why there is no TLS configuration.
#[derive(Debug)]
pub enum TlsError {
    /// Settings that are not set, by name.
    NotConfigured(&'static [&'static str]),
    /// Every mistake that was found, with its file.
    InFiles(Vec<(PathBuf, TlsProblem)>),
    /// The TLS library refused.
    Library(rustls::Error),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The file can't be read or is not PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Something else than a certificate among the chain.
    #[error("holds a section that is not a certificate; keep the key in a file of its own (tls.key)")]
    NotCertificate,
    /// A certificate that does not parse.
    #[error("certificate {position} of the file can't be decoded: {reason}")]
    Undecodable {
        /// Counted from 1.
        position: usize,
        /// What the decoder said.
        reason: String,
    },
    /// The leaf's time is over.
    #[error("the certificate of '{subject}' expired on {date}; renew it")]
    Expired {
        /// Distinguished name.
        subject: String,
        /// `notAfter`, ISO 8601.
        date: String,
    },
    /// The leaf's time has not come.
    #[error("the certificate of '{subject}' is not valid before {date}; check the clock of this machine")]
    NotYetValid {
        /// Distinguished name.
        subject: String,
        /// `notBefore`, ISO 8601.
        date: String,
    },
    /// Not exactly one private key.
    #[error("must hold exactly one private key ('-----BEGIN PRIVATE KEY-----') and nothing else")]
    NotOneKey,
    /// A key that the library can't use.
    #[error(
        "holds a private key that can't be used: {0}; use RSA of at least 2048 bits, EC P-256 or P-384, or Ed25519"
    )]
    UnusableKey(rustls::Error),
    /// Key and leaf are not a pair.
    #[error("the key does not belong to the first certificate in {}; the server's own certificate must come first", .0.display())]
    KeyMismatch(PathBuf),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured(names) => write!(
                f,
                "{} {} not set; HTTPS needs a certificate chain and its key as PEM files",
                names.join(" and "),
                if names.len() == 1 { "is" } else { "are" }
            ),
            Self::InFiles(problems) => {
                for (index, (path, problem)) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}: {problem}", path.display())?;
                }
                Ok(())
            }
            Self::Library(error) => write!(f, "TLS can't be set up: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Library(error) => Some(error),
            _ => None,
        }
    }
}
