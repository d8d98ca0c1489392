//! The whole application without a model: what needs no R.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::pending;
use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use super::*;

fn start(repository: &tempfile::TempDir, background: &Background) -> Application {
    let secret = repository.path().join(".secret");
    std::fs::write(&secret, "a secret of the tests, long enough for HS256").unwrap();
    let mut settings = Settings::default();
    settings.models.path = repository.path().to_owned();
    settings.auth.hs256_secret_file = Some(secret);
    settings.server.insecure_http = true;
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    Application::start(Parts {
        credentials: Credentials::read(&settings).unwrap(),
        settings,
        callers: bind(),
        operator: bind(),
        executable: PathBuf::new(),
        environment: Vec::new(),
        mirror: None,
        background: background.clone(),
        traces: None,
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_ends_the_application_with_an_error() {
    let (repository, background) = (tempfile::tempdir().unwrap(), Background::new());
    let application = start(&repository, &background);
    let callers = application.callers_address();
    application.loaded().await;
    let running = tokio::spawn(application.run(pending()));
    assert!(TcpStream::connect(callers).await.is_ok(), "it serves");
    background.spawn("dispatcher of a model", async { panic!("a defect") });
    let error = running.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("dispatcher of a model panicked"), "{error}");
    assert!(TcpStream::connect(callers).await.is_err(), "nothing is left half alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_closed_in_order_when_nothing_went_wrong() {
    let (repository, background) = (tempfile::tempdir().unwrap(), Background::new());
    let application = start(&repository, &background);
    let reloads = application.reloads().clone();
    let error = reloads.reload("none", None).await.unwrap_err();
    assert_eq!(*error.kind(), crate::error::Kind::NotFound);
    assert_eq!(application.run(async { Duration::ZERO }).await.unwrap(), Drained::Clean);
    let error = reloads.reload("none", None).await.unwrap_err();
    assert_eq!(*error.kind(), crate::error::Kind::Unavailable, "nobody takes it up any more");
}
