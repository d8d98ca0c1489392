//! Certificates and token keys, made at run time and kept in the build folder,
//! and tokens of every kind.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rscore::auth::mint::Minter;
use rscore::auth::scope::Grant;
use rscore::config::settings::{AuthSettings, Settings};
use rscore::tls::development::{DevelopmentFiles, prepare};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

/// The keys of all servers of this run.
pub static FILES: LazyLock<DevelopmentFiles> =
    LazyLock::new(|| prepare(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys")).expect("keys and certificates"));

/// A client that trusts the servers' certificate and nothing else.
pub static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&FILES.ca_certificate).expect("a certificate")).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

/// Has a server use these keys.
pub fn configure(settings: &mut Settings) {
    let files = &*FILES;
    settings.apply_development_files(
        files.certificate.clone(),
        files.key.clone(),
        files.verification_key.clone(),
        files.signing_key.clone(),
    );
}

/// A token as `rscore token` makes it.
pub fn mint(settings: &AuthSettings, scopes: &str) -> String {
    let grants: Vec<Grant> = scopes.split_whitespace().map(|scope| scope.parse().expect("a scope")).collect();
    let minter = Minter::from_settings(settings).unwrap_or_else(|error| panic!("{error}"));
    minter.mint("tester", &grants, Duration::from_secs(600)).unwrap_or_else(|error| panic!("{error}"))
}

/// A token with any claims, signed with the Ed25519 key of that PEM file.
pub fn sign(key: &PathBuf, claims: &Value) -> String {
    let key = EncodingKey::from_ed_pem(&std::fs::read(key).expect("a key")).expect("an Ed25519 key");
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key).expect("a token")
}

/// Claims that a server without issuer and audience accepts for everything.
pub fn claims() -> Value {
    json!({"sub": "tester", "scope": "score:* models:read", "exp": now() + 600})
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
