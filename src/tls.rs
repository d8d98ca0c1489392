//! Server certificates: read, checked before the port is opened, and turned
//! into the configuration of the HTTPS listener.

pub mod certificate;
pub mod development;
mod error;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

pub use error::{TlsError, TlsProblem};

use crate::config::settings::TlsSettings;

/// Reads certificate chain and key, checks that they belong together and are
/// valid now. TLS 1.2 and 1.3, no client certificates, session tickets on, no
/// early data (it could be replayed).
///
/// # Errors
/// Every mistake in both files at once.
pub fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let key = certificate::load(settings, &provider, SystemTime::now())?;
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Library)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // actix-web's `listen_rustls_0_23` puts these two in front of what is set
    // here; set all the same, so that the configuration is whole without it.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
    Ok(Arc::new(config))
}

/// When the leaf certificate expires, in seconds since 1970: the value of
/// `rscore_tls_certificate_expiry_timestamp_seconds`.
///
/// # Errors
/// When there is no certificate to read.
pub fn certificate_expiry(settings: &TlsSettings) -> Result<i64, TlsError> {
    certificate::expiry(settings)
}

/// The cryptography of all TLS here. Given explicitly wherever rustls asks, so
/// that nothing depends on which library installed a process-wide default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
