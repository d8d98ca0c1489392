//! Server certificates: read, checked before the port is opened and whenever
//! they are exchanged while serving, and turned into the configuration of the
//! HTTPS listener.

pub mod certificate;
pub mod development;
mod error;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

pub use error::{TlsError, TlsProblem};

use crate::config::settings::TlsSettings;

/// The certificate that new connections get; can be exchanged while serving.
#[derive(Debug)]
pub struct ServerCertificate {
    settings: TlsSettings,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    /// Seconds since 1970.
    not_after: i64,
}

impl ServerCertificate {
    /// Reads certificate chain and key, and checks that they belong together and
    /// are valid now.
    ///
    /// # Errors
    /// Every mistake in both files at once.
    pub fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::load(settings)?);
        Ok(Self { settings: settings.clone(), current })
    }

    /// Reads the files again; connections that come from now on get what they
    /// have. What was used before stays in use when they are wrong.
    ///
    /// # Errors
    /// As for [`ServerCertificate::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let next = Current::load(&self.settings)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// When the leaf certificate expires, in seconds since 1970: the value of
    /// `rscore_tls_certificate_expiry_timestamp_seconds`.
    pub fn expiry(&self) -> i64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    /// What a listener needs: TLS 1.2 and 1.3, no client certificates, session
    /// tickets on, no early data (it could be replayed).
    ///
    /// # Errors
    /// When the cryptographic library refuses to work.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).key))
    }
}

impl Current {
    fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let (key, not_after) = certificate::load(settings, &provider(), SystemTime::now())?;
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// The cryptography of all TLS here. Given explicitly wherever rustls asks, so
/// that nothing depends on which library installed a process-wide default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
