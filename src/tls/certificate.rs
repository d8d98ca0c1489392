//! A certificate chain and its key as files: every entry must parse, the leaf
//! must be valid now, and the key must be the leaf's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, TlsProblem};
use crate::config::settings::TlsSettings;
use crate::pem;

/// A decoded chain, leaf first, with what is asked of the leaf.
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    subject: String,
    /// Seconds since 1970.
    not_before: i64,
    /// Seconds since 1970.
    not_after: i64,
}

/// Reads and checks both files at a point in time; also gives `notAfter` of the
/// leaf, in seconds since 1970.
pub(super) fn load(
    settings: &TlsSettings,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(CertifiedKey, i64), TlsError> {
    let (certificate, key) = paths(settings)?;
    let mut problems: Vec<(PathBuf, TlsProblem)> = Vec::new();

    let chain = read_chain(certificate).map_err(|problem| problems.push((certificate.to_owned(), problem))).ok();
    if let Some(problem) = chain.as_ref().and_then(|chain| chain.time_problem(now)) {
        problems.push((certificate.to_owned(), problem));
    }
    let signer = read_key(key, provider).map_err(|problem| problems.push((key.to_owned(), problem))).ok();

    if let (Some(chain), Some(signer)) = (chain, signer) {
        let not_after = chain.not_after;
        let certified = CertifiedKey::new(chain.certificates, signer);
        match certified.keys_match() {
            Ok(()) if problems.is_empty() => return Ok((certified, not_after)),
            Ok(()) => {}
            Err(_) => problems.push((key.to_owned(), TlsProblem::KeyMismatch(certificate.to_owned()))),
        }
    }
    Err(TlsError::InFiles(problems))
}

fn paths(settings: &TlsSettings) -> Result<(&Path, &Path), TlsError> {
    match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => Ok((certificate, key)),
        (None, Some(_)) => Err(TlsError::NotConfigured(&["tls.certificate"])),
        (Some(_), None) => Err(TlsError::NotConfigured(&["tls.key"])),
        (None, None) => Err(TlsError::NotConfigured(&["tls.certificate", "tls.key"])),
    }
}

fn read_chain(path: &Path) -> Result<Chain, TlsProblem> {
    let mut certificates = Vec::new();
    let mut leaf = None;
    for (index, section) in pem::read(path)?.into_iter().enumerate() {
        if section.kind != SectionKind::Certificate {
            return Err(TlsProblem::NotCertificate);
        }
        let undecodable = |reason: String| TlsProblem::Undecodable { position: index + 1, reason };
        let (rest, parsed) = X509Certificate::from_der(&section.der).map_err(|error| undecodable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(undecodable("bytes follow the certificate".to_owned()));
        }
        if leaf.is_none() {
            let validity = parsed.validity();
            let subject = parsed.subject().to_string();
            leaf = Some((subject, validity.not_before.timestamp(), validity.not_after.timestamp()));
        }
        certificates.push(CertificateDer::from(section.der));
    }
    let (subject, not_before, not_after) = leaf.ok_or(pem::PemError::NoSection)?;
    Ok(Chain { certificates, subject, not_before, not_after })
}

fn read_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsProblem> {
    let mut sections = pem::read(path)?;
    let (Some(section), true) = (sections.pop(), sections.is_empty()) else {
        return Err(TlsProblem::NotOneKey);
    };
    let der = match section.kind {
        SectionKind::PrivateKey => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(section.der)),
        SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(section.der)),
        SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(section.der)),
        _ => return Err(TlsProblem::NotOneKey),
    };
    provider.key_provider.load_private_key(der).map_err(TlsProblem::UnusableKey)
}

impl Chain {
    fn time_problem(&self, now: SystemTime) -> Option<TlsProblem> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let subject = self.subject.clone();
        if now > self.not_after {
            Some(TlsProblem::Expired { subject, date: date(self.not_after) })
        } else if now < self.not_before {
            Some(TlsProblem::NotYetValid { subject, date: date(self.not_before) })
        } else {
            None
        }
    }
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds}"), |time| time.to_string())
}
