//! What a request is refused for by its head.

use super::{GOOD, PATH, refused, send};
use crate::support::client::Request;
use crate::support::gate::Gate;
use crate::support::golden;
use crate::support::keys;
use crate::support::setup::Setup;

#[tokio::test]
async fn unauthenticated() {
    refused("unauthenticated", Request::post(PATH, GOOD).without("Authorization")).await;
}

#[tokio::test]
async fn forbidden() {
    let mut settings = rscore::config::Settings::default();
    keys::configure(&mut settings);
    let token = keys::mint(&settings.auth, "score:boston models:read");
    refused("forbidden", Request::post(PATH, GOOD).header("Authorization", &format!("Bearer {token}"))).await;
}

#[tokio::test]
async fn no_such_route() {
    refused("no_route", Request::get("/predict")).await;
}

#[tokio::test]
async fn no_such_model() {
    refused("no_model", Request::post("/models/castles/predict", GOOD)).await;
}

#[tokio::test]
async fn no_such_version() {
    refused("no_version", Request::post("/models/homes/versions/7/predict", GOOD)).await;
    refused("no_version_number", Request::post("/models/homes/versions/latest/predict", GOOD)).await;
}

#[tokio::test]
async fn method_not_allowed() {
    refused("method_not_allowed", Request::new("DELETE", PATH)).await;
}

#[tokio::test]
async fn not_acceptable() {
    refused("not_acceptable", Request::post(PATH, GOOD).header("Accept", "text/html, application/xml;q=0.9")).await;
}

#[tokio::test]
async fn unsupported_media_type() {
    refused(
        "unsupported_media_type",
        Request::post(PATH, "area\t21\n").header("Content-Type", "text/tab-separated-values"),
    )
    .await;
    refused("no_media_type", Request::post(PATH, GOOD).without("Content-Type")).await;
    refused("unsupported_coding", Request::post(PATH, GOOD).header("Content-Encoding", "br")).await;
}

#[tokio::test]
async fn options_that_can_not_be_read() {
    refused("bad_timeout", Request::post(PATH, GOOD).header("X-Request-Timeout-Ms", "soon")).await;
    refused("bad_query", Request::post(&format!("{PATH}?non_finite=text"), GOOD)).await;
}

#[tokio::test]
async fn overloaded() {
    let mut gate = Gate::new();
    let server = Setup::new()
        .script("gated", &format!("{}score <- function(model, data) {{ gate(); 2 * data$x }}", gate.script()))
        .settings(|settings| settings.limits.max_requests = 1)
        .start()
        .await;
    let request = Request::predict("gated", r#"[{"x": 21}]"#);
    let first = server.send_beside(request.clone());
    gate.begun().await;
    let reply = send(&server, request.clone()).await;
    reply.is_problem(429, "overloaded");
    golden::check("overloaded", &reply);
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [42.0]);
    let second = server.send_beside(request);
    gate.begun().await;
    gate.open().await;
    assert_eq!(second.await.unwrap().predictions(), [42.0], "the place is free again");
}
