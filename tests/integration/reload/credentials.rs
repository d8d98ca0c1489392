//! Certificates and token keys are exchanged, by themselves or at SIGHUP.

use std::path::Path;
use std::time::Duration;

use rscore::config::settings::AuthSettings;
use rscore::tls::development::{DevelopmentFiles, prepare};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{ROW, generation, not_polling, prediction, replace, times};
use crate::support::client::Request;
use crate::support::endpoint::{EVERYTHING, Endpoint};
use crate::support::program::Program;
use crate::support::setup::Setup;
use crate::support::{eventually, keys};

/// Whether a new connection is trusted by who trusts this CA. A client of its own,
/// which resumes no session.
async fn trusts(endpoint: &Endpoint, ca: &Path) -> bool {
    let stream = TcpStream::connect(endpoint.callers).await.unwrap();
    let connector = TlsConnector::from(keys::client(ca));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.is_ok()
}

/// A program with a certificate and token keys of its own, which can be replaced.
async fn program(folder: &Path, change: impl FnOnce(Setup) -> Setup) -> (Program, DevelopmentFiles) {
    let files = prepare(folder).unwrap();
    let mut setup = change(Setup::new().file("double", "score.R", &times(2)));
    setup.settings.tls = Default::default();
    setup.settings.auth = Default::default();
    setup.settings.apply_development_files(
        files.certificate.clone(),
        files.key.clone(),
        files.verification_key.clone(),
        files.signing_key.clone(),
    );
    setup.client = Some(keys::client(&files.ca_certificate));
    (setup.run().await, files)
}

fn exchange(from: &Path, to: &Path) {
    replace(to, std::fs::read(from).unwrap());
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let often =
        |setup: Setup| setup.settings(|settings| settings.server.credentials_interval = Duration::from_millis(20));
    let (program, files) = program(&folder.path().join("first"), often).await;
    let next = prepare(&folder.path().join("next")).unwrap();
    assert!(trusts(&program, &files.ca_certificate).await);
    let mut open = program.connect().await;

    // A certificate without its key is half of an exchange: nothing changes.
    exchange(&next.certificate, &files.certificate);
    let complains = |line: &serde_json::Value| {
        line["level"] == "ERROR" && line["message"].as_str().is_some_and(|text| text.contains("certificate stays"))
    };
    program.logged("what is wrong", complains).await;
    assert!(trusts(&program, &files.ca_certificate).await);
    exchange(&next.key, &files.key);
    eventually("the new certificate", || async { trusts(&program, &next.ca_certificate).await.then_some(()) }).await;
    assert!(!trusts(&program, &files.ca_certificate).await);
    let request = program.authorised(Request::predict("double", ROW));
    assert_eq!(open.send(&request).await.predictions(), [42.0], "a connection that is open stays open");
    let metrics = program.metrics().await;
    let outcome = |outcome| {
        metrics.sum("rscore_credential_reloads_total", &[("credential", "certificate"), ("outcome", outcome)])
    };
    assert!(outcome("failed") >= 1.0 && outcome("loaded") >= 1.0);
    assert!(metrics.sum("rscore_tls_certificate_expiry_timestamp_seconds", &[]) > keys::now() as f64);

    // The key of tokens.
    exchange(&next.verification_key, &files.verification_key);
    let client = Some(keys::client(&next.ca_certificate));
    let endpoint = Endpoint { tls: client, ..Endpoint::clone(&program) };
    let refused = || async { (endpoint.send(request.clone()).await.status == 401).then_some(()) };
    eventually("an end of the old tokens", refused).await;
    let auth = AuthSettings { signing_key: Some(next.signing_key.clone()), ..AuthSettings::default() };
    let token = keys::mint(&auth, EVERYTHING);
    let request = Request::predict("double", ROW).header("Authorization", &format!("Bearer {token}"));
    assert_eq!(open.send(&request).await.predictions(), [42.0]);
}

#[tokio::test]
async fn sighup_has_all_of_it_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (program, files) = program(&folder.path().join("first"), not_polling).await;
    let next = prepare(&folder.path().join("next")).unwrap();
    exchange(&next.certificate, &files.certificate);
    exchange(&next.key, &files.key);
    replace(&program.repository.version("double", 1).join("score.R"), times(3));
    assert!(trusts(&program, &files.ca_certificate).await, "nobody has looked");
    program.signal(Signal::HUP);
    eventually("the new certificate", || async { trusts(&program, &next.ca_certificate).await.then_some(()) }).await;
    let endpoint = Endpoint { tls: Some(keys::client(&next.ca_certificate)), ..Endpoint::clone(&program) };
    generation(&endpoint, "double", 1, 2).await;
    assert_eq!(prediction(&endpoint, "double").await, 63.0);
}
