//! Requests that take too long.

use std::time::{Duration, Instant};

use super::{GATED, GATED_ROW, PLAIN_ROW, counted, workers_without};
use crate::support::client::Request;
use crate::support::gate::Gate;
use crate::support::setup::Setup;

#[tokio::test]
async fn a_deadline_that_passes_in_r_is_504_and_replaces_the_worker() {
    let model = "hangs";
    let mut gate = Gate::new();
    let server = Setup::new().script(model, &format!("{}{GATED}", gate.script())).start().await;
    let request = Request::predict(model, GATED_ROW).header("X-Request-Timeout-Ms", "300");
    let request = server.send_beside(request);
    let victim = gate.begun().await;
    let reply = request.await.unwrap();
    reply.is_problem(504, "deadline-exceeded");
    assert_eq!(server.send(Request::predict(model, PLAIN_ROW)).await.predictions(), [42.0]);
    workers_without(&server, model, 1, &[victim]).await;
    counted(&server, "rscore_worker_deaths_total", model, "timed_out", 1.0).await;
    counted(&server, "rscore_worker_starts_total", model, "replacement", 1.0).await;
}

#[tokio::test]
async fn the_timeout_of_the_manifest_holds_without_a_header() {
    let model = "hasty";
    let server = Setup::new()
        .script(model, "score <- function(model, data) repeat NULL")
        .file(model, "rscore.toml", "timeout = \"200ms\"")
        .start()
        .await;
    let started = Instant::now();
    let longer = Request::predict(model, PLAIN_ROW).header("X-Request-Timeout-Ms", "20000");
    server.send(longer).await.is_problem(504, "deadline-exceeded");
    assert!(started.elapsed() < Duration::from_secs(10), "a header can only shorten the timeout");
}

#[tokio::test]
async fn a_request_that_waits_for_a_worker_has_its_deadline_too() {
    let model = "queued";
    let mut gate = Gate::new();
    let server = Setup::new().script(model, &format!("{}{GATED}", gate.script())).start().await;
    let first = server.send_beside(Request::predict(model, GATED_ROW));
    let worker = gate.begun().await;
    let second = Request::predict(model, PLAIN_ROW).header("X-Request-Timeout-Ms", "100");
    server.send(second).await.is_problem(504, "deadline-exceeded");
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [42.0]);
    let workers = server.workers(model);
    assert_eq!(workers.iter().map(|worker| worker.id).collect::<Vec<_>>(), [worker], "nobody's worker was replaced");
}
