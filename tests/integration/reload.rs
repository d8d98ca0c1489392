//! Models, certificates and keys change while the server answers.

mod api;
mod credentials;
mod folders;
mod told;
mod under_load;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::bundle::Repository;
use crate::support::client::Request;
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::setup::Setup;

const ROW: &str = r#"[{"x": 21}]"#;

/// Looks so often that a test need not wait.
fn polling(setup: Setup) -> Setup {
    setup.settings(|settings| {
        settings.models.poll_interval = Duration::from_millis(20);
        settings.models.settle = Duration::from_millis(60);
    })
}

/// Looks when it is told to, and never by itself.
fn not_polling(setup: Setup) -> Setup {
    setup.settings(|settings| {
        settings.models.poll_interval = Duration::ZERO;
        settings.server.credentials_interval = Duration::ZERO;
        settings.models.settle = Duration::from_millis(20);
    })
}

/// A script that multiplies.
fn times(factor: u32) -> String {
    format!("load <- function(dir) list()\nscore <- function(model, data) {factor} * data$x")
}

/// Replaces a file as one should: the new one is written beside it and renamed.
fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, contents).expect("a file");
    fs::rename(&beside, path).expect("a rename");
}

/// Puts a whole version into the repository by one rename.
fn publish(repository: &Repository, model: &str, version: u32, script: &str) {
    let beside = repository.path().join(".next");
    fs::create_dir(&beside).expect("a folder");
    fs::write(beside.join("score.R"), script).expect("a file");
    fs::rename(&beside, repository.version(model, version)).expect("a rename");
}

async fn details(endpoint: &Endpoint, model: &str) -> Value {
    let reply = endpoint.send(Request::get(&format!("/models/{model}"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until a version is served by this generation.
async fn generation(endpoint: &Endpoint, model: &str, version: u32, number: u64) -> Value {
    eventually("another generation", || async {
        let reply = endpoint.send(Request::get(&format!("/models/{model}/versions/{version}"))).await;
        (reply.status == 200 && reply.json()["generation"] == number).then(|| reply.json())
    })
    .await
}

async fn prediction(endpoint: &Endpoint, model: &str) -> Value {
    endpoint.send(Request::predict(model, ROW)).await.predictions().remove(0)
}
