//! What `--dev` needs to serve HTTPS with tokens on this machine: a throw-away
//! CA, a certificate for `localhost`, and keys that sign and verify tokens.
//!
//! The CA's own key is never written: once the certificate is signed, nobody
//! can make another that a browser which trusts this CA would believe.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};

use super::certificate;
use crate::auth::development::{self, SigningKeyFiles, is_private};
use crate::config::settings::TlsSettings;
use crate::pem;

/// How long the certificates are good. Short, since they are made anew by
/// themselves, and a forgotten CA in a browser should not stay of use.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Time that must be left for a certificate to be used again: a day of work.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// All files of `--dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevelopmentFiles {
    /// The CA's certificate, for clients: `curl --cacert`.
    pub ca_certificate: PathBuf,
    /// The server's certificate, for `tls.certificate`.
    pub certificate: PathBuf,
    /// The server's key, for `tls.key`.
    pub key: PathBuf,
    /// The private key that signs tokens, for `auth.signing_key`.
    pub signing_key: PathBuf,
    /// The public key that verifies tokens, for `auth.keys`.
    pub verification_key: PathBuf,
}

/// Why the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file or the directory can't be written.
    #[error("{}: can't write the files for development: {source}", directory.display())]
    Write {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The certificates can't be made.
    #[error("can't make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

/// Takes what is in `directory` and good for another day; makes the rest anew.
/// Two processes that start at once get the same files.
///
/// # Errors
/// When the directory can't be created or written.
pub fn prepare(directory: &Path) -> Result<DevelopmentFiles, DevelopmentError> {
    prepare_at(directory, SystemTime::now())
}

fn prepare_at(directory: &Path, now: SystemTime) -> Result<DevelopmentFiles, DevelopmentError> {
    let write_error = |source| DevelopmentError::Write { directory: directory.to_owned(), source };

    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(write_error)?;
    let lock = File::create(directory.join(".lock")).map_err(write_error)?;
    lock.lock().map_err(write_error)?;

    let SigningKeyFiles { signing_key, verification_key } = development::prepare(directory).map_err(write_error)?;
    let files = DevelopmentFiles {
        ca_certificate: directory.join("ca.pem"),
        certificate: directory.join("server.pem"),
        key: directory.join("server-key.pem"),
        signing_key,
        verification_key,
    };
    if !files.usable(now + MARGIN) {
        let made = generate(now)?;
        pem::write_public(&files.ca_certificate, &made.ca_certificate).map_err(write_error)?;
        pem::write_public(&files.certificate, &made.certificate).map_err(write_error)?;
        pem::write_private(&files.key, &made.key).map_err(write_error)?;
    }
    Ok(files)
}

impl DevelopmentFiles {
    /// Whether a client that trusts the CA will believe the server at `time`.
    fn usable(&self, time: SystemTime) -> bool {
        let provider = super::provider();
        let settings = TlsSettings { certificate: Some(self.certificate.clone()), key: Some(self.key.clone()) };
        let (Ok((server, _)), Ok(ca)) =
            (certificate::load(&settings, &provider, time), pem::read(&self.ca_certificate))
        else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        if !is_private(&self.key)
            || ca.len() != 1
            || ca.into_iter().any(|section| roots.add(section.der.into()).is_err())
        {
            return false;
        }
        let Ok(since) = time.duration_since(UNIX_EPOCH) else { return false };
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
            return false;
        };
        [ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST)), ServerName::from(IpAddr::from(Ipv6Addr::LOCALHOST))]
            .into_iter()
            .chain(ServerName::try_from("localhost"))
            .all(|name| {
                verifier.verify_server_cert(&server.cert[0], &[], &name, &[], UnixTime::since_unix_epoch(since)).is_ok()
            })
    }
}

/// Certificates and key as PEM.
struct Made {
    ca_certificate: String,
    certificate: String,
    key: String,
}

fn generate(now: SystemTime) -> Result<Made, rcgen::Error> {
    let ca = CertifiedIssuer::self_signed(ca_parameters(now)?, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = server_parameters(now)?.signed_by(&key, &ca)?;
    Ok(Made { ca_certificate: ca.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn ca_parameters(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = parameters("rscore development CA", now)?;
    // It may sign servers and no further CA.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn server_parameters(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = parameters("localhost", now)?;
    parameters.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python's ssl asks for it since 3.13 (VERIFY_X509_STRICT).
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

fn parameters(common_name: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    // From an hour ago, for containers whose clock is a little behind.
    parameters.not_before = (now - Duration::from_secs(60 * 60)).into();
    parameters.not_after = (now + VALIDITY).into();
    Ok(parameters)
}

#[cfg(test)]
mod tests;
