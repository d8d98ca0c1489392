//! Certificate and key files, good and bad, and a handshake with the result.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::*;

/// A folder with a chain and a key in it.
struct Files(TempDir);

impl Files {
    fn new(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("server.pem"), certificate).unwrap();
        fs::write(directory.path().join("server-key.pem"), key).unwrap();
        Self(directory)
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings { certificate: Some(self.path("server.pem")), key: Some(self.path("server-key.pem")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn server_config_of(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    Arc::new(ServerCertificate::load(settings)?).server_config()
}

fn refusal(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
    server_config_of(&Files::new(certificate, key).settings()).expect_err("the files are bad").to_string()
}

fn parameters() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

/// Certificate and key of a self-signed server.
fn pair(parameters: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// CA, chain and key.
fn signed() -> (CertificateDer<'static>, String, String) {
    let mut ca = parameters();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = parameters().signed_by(&key, &ca).unwrap();
    (ca.der().clone(), leaf.pem() + &ca.pem(), key.serialize_pem())
}

/// Client and server shake hands in memory.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (ClientConnection, ServerConnection) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    (client, server)
}

fn client(
    ca: CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(client)
}

#[test]
fn both_versions_of_tls_are_spoken_and_sessions_resumed() {
    let (ca, chain, key) = signed();
    let server = server_config_of(&Files::new(chain, key).settings()).unwrap();
    assert!(server.ticketer.enabled(), "sessions outlive the small cache of the library");
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = client(ca.clone(), version, &[b"h2", b"http/1.1"]);
        let (first, accepted) = handshake(&config, &server);
        assert_eq!(accepted.protocol_version(), Some(expected));
        assert_eq!(first.alpn_protocol(), Some(b"h2".as_slice()));
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (second, _) = handshake(&config, &server);
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed), "{expected:?}");
    }
    let (old, _) = handshake(&client(ca, &TLS13, &[b"http/1.1"]), &server);
    assert_eq!(old.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[test]
fn keys_of_every_usual_kind_are_taken() {
    for algorithm in
        [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = parameters().self_signed(&key).unwrap().pem();
        assert!(server_config_of(&Files::new(certificate, key.serialize_pem()).settings()).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn settings_that_are_missing_are_named() {
    let both = server_config_of(&TlsSettings::default()).expect_err("nothing is set").to_string();
    assert!(both.contains("tls.certificate and tls.key are not set"), "{both}");
    let one = TlsSettings { certificate: Some(PathBuf::from("a")), key: None };
    assert!(server_config_of(&one).expect_err("no key").to_string().contains("tls.key is not set"));
    let one = TlsSettings { certificate: None, key: Some(PathBuf::from("a")) };
    assert!(server_config_of(&one).expect_err("no certificate").to_string().contains("tls.certificate is not set"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (certificate, _) = pair(&parameters());
    let (_, key) = pair(&parameters());
    let error = refusal(certificate, key);
    assert!(error.contains("server-key.pem: the key does not belong") && error.contains("server.pem"), "{error}");
}

#[test]
fn a_chain_in_the_wrong_order_is_refused() {
    let (_, chain, key) = signed();
    let second = chain.rfind("-----BEGIN").unwrap();
    let error = refusal(format!("{}{}", &chain[second..], &chain[..second]), key);
    assert!(error.contains("must come first"), "{error}");
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_the_date() {
    let mut expired = parameters();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 2, 3);
    let (certificate, key) = pair(&expired);
    let error = refusal(certificate, key);
    assert!(error.contains("expired on 2021-02-03T00:00:00Z") && error.contains("CN="), "{error}");

    let mut future = parameters();
    future.not_before = date_time_ymd(2999, 1, 1);
    future.not_after = date_time_ymd(3000, 1, 1);
    let (certificate, key) = pair(&future);
    assert!(refusal(certificate, key).contains("not valid before 2999-01-01T00:00:00Z"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mut expired = parameters();
    expired.not_after = date_time_ymd(2021, 2, 3);
    let (certificate, _) = pair(&expired);
    let error = refusal(&certificate, "hello");
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(error.contains("expired") && error.contains("server-key.pem: has no PEM section"), "{error}");

    let settings = TlsSettings { certificate: Some(PathBuf::from("no/a")), key: Some(PathBuf::from("no/b")) };
    let error = server_config_of(&settings).expect_err("no files").to_string();
    assert!(error.contains("no/a: can't be read: No such file") && error.contains("no/b: can't be read"), "{error}");
}

#[test]
fn a_bad_entry_of_a_file_is_never_skipped() {
    let (certificate, key) = pair(&parameters());
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(refusal(format!("{certificate}{junk}"), &key).contains("certificate 2"));
    assert!(refusal(format!("{certificate}-----BEGIN CERTIFICATE-----\n"), &key).contains("well-formed"));
    assert!(refusal(format!("{certificate}{key}"), &key).contains("not a certificate"));
    assert!(refusal("", &key).contains("server.pem: has no PEM section"));
    assert!(refusal(&certificate, format!("{key}{key}")).contains("exactly one private key"));
    assert!(refusal(&certificate, &certificate).contains("exactly one private key"));
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(refusal(&certificate, encrypted).contains("password"));
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(refusal(&certificate, broken).contains("can't be used"));
}

#[test]
fn the_expiry_is_that_of_the_leaf() {
    let mut with_date = parameters();
    with_date.not_after = date_time_ymd(2100, 1, 1);
    let (leaf, key) = pair(&with_date);
    let (other, _) = pair(&parameters());
    let files = Files::new(leaf + &other, key);
    assert_eq!(ServerCertificate::load(&files.settings()).unwrap().expiry(), 4_102_444_800);
}

#[test]
fn new_connections_get_the_new_certificate_and_a_bad_one_changes_nothing() {
    let (ca, chain, key) = signed();
    let files = Files::new(&chain, &key);
    let certificate = Arc::new(ServerCertificate::load(&files.settings()).unwrap());
    let server = certificate.server_config().unwrap();
    let leaf = |ca: &CertificateDer<'static>| {
        let (client, _) = handshake(&client(ca.clone(), &TLS13, &[b"h2"]), &server);
        client.peer_certificates().unwrap()[0].clone()
    };
    let first = leaf(&ca);

    let (next_ca, next_chain, next_key) = signed();
    fs::write(files.path("server.pem"), &next_chain).unwrap();
    let error = certificate.reload().expect_err("the key is not replaced yet").to_string();
    assert!(error.contains("does not belong"), "{error}");
    assert_eq!(leaf(&ca), first);

    fs::write(files.path("server-key.pem"), &next_key).unwrap();
    certificate.reload().unwrap();
    assert_ne!(leaf(&next_ca), first);
}
