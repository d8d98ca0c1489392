//! Certificates and token keys, made at run time and kept in the build folder,
//! and tokens as `rscore token` makes them.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rscore::auth::mint::Minter;
use rscore::auth::scope::Grant;
use rscore::config::settings::{AuthSettings, Settings};
use rscore::tls::development::{DevelopmentFiles, prepare};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The keys of all servers of this run.
pub static FILES: LazyLock<DevelopmentFiles> =
    LazyLock::new(|| prepare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys")).expect("keys and certificates"));

/// A client that trusts the servers' certificate and nothing else.
pub static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| client(&FILES.ca_certificate));

/// A client that trusts one CA.
pub fn client(ca_certificate: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_certificate).expect("a certificate")).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Has a server use the keys.
pub fn configure(settings: &mut Settings) {
    let files = &*FILES;
    settings.apply_development_files(
        files.certificate.clone(),
        files.key.clone(),
        files.verification_key.clone(),
        files.signing_key.clone(),
    );
}

/// What signs and verifies the tokens of all servers.
pub fn settings() -> AuthSettings {
    let mut settings = Settings::default();
    configure(&mut settings);
    settings.auth
}

/// A token as `rscore token` makes it.
pub fn mint(settings: &AuthSettings, scopes: &str) -> String {
    let grants: Vec<Grant> = scopes.split_whitespace().map(|scope| scope.parse().expect("a scope")).collect();
    let minter = Minter::from_settings(settings).unwrap_or_else(|error| panic!("{error}"));
    minter.mint("tester", &grants, Duration::from_secs(600)).unwrap_or_else(|error| panic!("{error}"))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
