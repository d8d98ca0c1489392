//! Tokens that don't count, and what a request can be refused for by its head.

use super::harness::{Reply, Request, Setup, TestServer};
use crate::lifecycle::Phase;
use crate::scoring::catalog::State;

const ROWS: &str = "[{\"x\": 1}]";
const PATH: &str = "/models/double/predict";

async fn predict(server: &TestServer, name: &str, value: &str) -> Reply {
    server.send(Request::post(PATH, ROWS).header(name, value)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_say_why_in_the_challenge() {
    let server = Setup::new().start().await;
    for (value, challenge) in [
        ("Basic dXNlcjpwYXNz", "Bearer realm=\"rscore\", error=\"invalid_request\""),
        ("Bearer a b", "Bearer realm=\"rscore\", error=\"invalid_request\""),
        ("Bearer", "Bearer realm=\"rscore\""),
        ("Bearer abc.def.ghi", "Bearer realm=\"rscore\", error=\"invalid_token\""),
    ] {
        let reply = predict(&server, "Authorization", value).await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some(challenge), "for '{value}'");
    }
    let twice = Request::post(PATH, ROWS).header("authorization", "Bearer abc");
    server.send(twice).await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_token_is_refused_before_its_body_is_sent() {
    let server = Setup::new().start().await;
    let mut client = server.connect().await;
    client.write(b"POST /models/double/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").await;
    let reply = client.reply().await;
    reply.is_problem(401, "unauthenticated");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_versions_that_are_not_there() {
    let setup = Setup::new();
    setup.catalog.set("late", 1, State::Loading);
    setup.catalog.set("broken", 1, State::Failed { reason: "no".into() });
    let server = setup.start().await;
    for path in [
        "/models/none/predict",
        "/models/double/versions/2/predict",
        "/models/double/versions/x/predict",
        "/models/double/versions/0/predict",
    ] {
        server.send(Request::post(path, ROWS)).await.is_problem(404, "not-found");
    }
    for path in ["/models/late/predict", "/models/broken/predict"] {
        let reply = server.send(Request::post(path, ROWS)).await;
        reply.is_problem(503, "unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_that_are_not_spoken() {
    let server = Setup::new().start().await;
    let reply = predict(&server, "Content-Type", "text/plain").await;
    let problem = reply.is_problem(415, "unsupported-media-type");
    assert!(problem["detail"].as_str().expect("text").contains("application/json"), "{problem}");
    assert!(reply.header("accept").expect("what is spoken").starts_with("application/json, text/csv, "));

    let reply = predict(&server, "Content-Encoding", "br").await;
    reply.is_problem(415, "unsupported-media-type");
    assert_eq!(reply.header("accept-encoding"), Some("identity, gzip, zstd"));

    predict(&server, "Accept", "text/html").await.is_problem(406, "not-acceptable");
    assert_eq!(predict(&server, "Accept", "text/html, */*;q=0.1").await.status, 200);
    assert_eq!(predict(&server, "Content-Type", "application/json; charset=utf-8").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_can_not_be_read() {
    let server = Setup::new().start().await;
    predict(&server, "X-Request-Timeout-Ms", "soon").await.is_problem(400, "malformed");
    for query in ["non_finite=maybe", "unknown=1"] {
        let request = Request::post(&format!("{PATH}?{query}"), ROWS);
        server.send(request).await.is_problem(400, "malformed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starting_server_has_metadata_and_no_predictions() {
    let server = Setup { phase: Phase::Starting, ..Setup::new() }.start().await;
    assert_eq!(server.send(Request::get("/models")).await.status, 200);
    let reply = server.send(Request::post(PATH, ROWS)).await;
    reply.is_problem(503, "unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
    server.send(Request::new("POST", PATH)).await.is_problem(401, "unauthenticated");
    let reload = Request::new("POST", "/models/double/reload").scope("models:write");
    let reply = server.send(reload.clone()).await;
    reply.is_problem(503, "unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
    server.lifecycle.advance(Phase::Serving);
    assert_eq!(server.send(Request::post(PATH, ROWS)).await.status, 200);
    assert_eq!(server.send(reload).await.status, 202);
}
