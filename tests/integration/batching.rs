//! Requests that share calls of R: each gets its own answer, whatever the others
//! are, and what waits is bounded.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Reply, Request};
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::setup::Setup;

/// Doubles `x`. Waits at a gate for 100, fails on 101, ends its process on 102,
/// warns of 103, and never ends on 104.
const SCRIPT: &str = "
score <- function(model, data) {
  if (any(data$x == 100)) gate()
  if (any(data$x == 101)) stop('no 101')
  if (any(data$x == 102)) tools::pskill(Sys.getpid(), 9L)
  if (any(data$x == 103)) warning('mind 103')
  if (any(data$x == 104)) repeat {}
  2 * data$x
}";

const MANIFEST: &str = "row_independent = true\n[columns]\nx = \"double\"\n";

fn row(x: f64) -> String {
    format!("[{{\"x\": {x}}}]")
}

/// A server with one worker, which is held at the gate by a first request.
fn setup(model: &str, gate: &Gate) -> Setup {
    Setup::new().script(model, &format!("{}{SCRIPT}", gate.script())).file(model, "rscore.toml", MANIFEST)
}

/// Sends requests while the only worker is held, so that they wait together, then
/// lets it go; gives their answers in order.
async fn together(endpoint: &Endpoint, gate: &mut Gate, model: &str, values: &[f64]) -> Vec<Reply> {
    let first = endpoint.send_beside(Request::predict(model, row(100.0)));
    gate.begun().await;
    let waiting: Vec<_> = values.iter().map(|x| endpoint.send_beside(Request::predict(model, row(*x)))).collect();
    eventually("all requests in the queue", || async {
        let queued = endpoint.metrics().await.sum("rscore_queue_rows", &[("model", model)]);
        (queued == values.len() as f64).then_some(())
    })
    .await;
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [200.0]);
    let mut replies = Vec::new();
    for waiting in waiting {
        replies.push(waiting.await.unwrap());
    }
    replies
}

async fn calls(endpoint: &Endpoint, model: &str) -> (f64, f64) {
    let metrics = endpoint.metrics().await;
    let sum = |name| metrics.sum(name, &[("model", model)]);
    (sum("rscore_batch_rows_count"), sum("rscore_batch_rows_sum"))
}

#[tokio::test]
async fn requests_that_wait_share_a_call() {
    let (model, mut gate) = ("joined", Gate::new());
    let server = setup(model, &gate).start().await;
    let details = server.send(Request::get("/models/joined")).await.json();
    assert_eq!(details["joins_requests"], Value::Bool(true), "{details}");
    assert_eq!(details["row_independence"]["state"], "proved", "{details}");
    let values: Vec<f64> = (1..=20).map(f64::from).collect();
    let replies = together(&server, &mut gate, model, &values).await;
    for (x, reply) in values.iter().zip(&replies) {
        assert_eq!(reply.predictions(), [2.0 * x]);
    }
    assert_eq!(calls(&server, model).await, (2.0, 21.0), "one call for the first and one for all others");
}

#[tokio::test]
async fn an_error_is_the_answer_of_its_own_request_alone() {
    let (model, mut gate) = ("innocent", Gate::new());
    let server = setup(model, &gate).start().await;
    let replies = together(&server, &mut gate, model, &[1.0, 101.0, 2.0, 103.0]).await;
    assert_eq!(replies[0].predictions(), [2.0]);
    assert_eq!(replies[1].is_problem(500, "model-error")["condition"]["message"], "no 101");
    assert_eq!(replies[2].predictions(), [4.0]);
    assert_eq!(replies[2].json().get("warnings"), None, "the warning is another's");
    assert_eq!(replies[3].json()["warnings"][0], "mind 103");
}

#[tokio::test]
async fn a_crash_is_the_end_of_its_own_request_alone() {
    let (model, mut gate) = ("bisected", Gate::new());
    let server = setup(model, &gate).start().await;
    let replies = together(&server, &mut gate, model, &[1.0, 2.0, 3.0, 102.0, 4.0]).await;
    for (reply, expected) in [(0, 2.0), (1, 4.0), (2, 6.0), (4, 8.0)] {
        assert_eq!(replies[reply].predictions(), [expected]);
    }
    replies[3].is_problem(502, "model-crashed");
}

#[tokio::test]
async fn a_call_that_hangs_takes_the_time_of_its_own_request_alone() {
    let (model, mut gate) = ("hanging", Gate::new());
    let manifest = format!("timeout = \"8s\"\n{MANIFEST}");
    let server = setup(model, &gate).file(model, "rscore.toml", &manifest).start().await;
    let replies = together(&server, &mut gate, model, &[1.0, 104.0, 2.0]).await;
    for (reply, expected) in [(0, 2.0), (2, 4.0)] {
        assert_eq!(replies[reply].predictions(), [expected]);
    }
    replies[1].is_problem(504, "deadline-exceeded");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let (model, mut gate) = ("bounded", Gate::new());
    let server = setup(model, &gate).settings(|settings| settings.limits.max_queued_requests = 2).start().await;
    let first = server.send_beside(Request::predict(model, row(100.0)));
    gate.begun().await;
    let waiting = [1.0, 2.0].map(|x| server.send_beside(Request::predict(model, row(x))));
    eventually("a full queue", || async {
        (server.metrics().await.sum("rscore_queue_rows", &[("model", model)]) == 2.0).then_some(())
    })
    .await;
    let refused = server.send(Request::predict(model, row(3.0))).await;
    refused.is_problem(429, "overloaded");
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [200.0]);
    for (waiting, expected) in waiting.into_iter().zip([2.0, 4.0]) {
        assert_eq!(waiting.await.unwrap().predictions(), [expected]);
    }
}

#[tokio::test]
async fn the_wait_in_the_queue_is_bounded() {
    let (model, mut gate) = ("impatient", Gate::new());
    let setup = setup(model, &gate).settings(|settings| settings.limits.max_queue_time = Duration::from_millis(100));
    let server = setup.start().await;
    let first = server.send_beside(Request::predict(model, row(100.0)));
    gate.begun().await;
    let refused = server.send(Request::predict(model, row(4.0))).await;
    let problem = refused.is_problem(429, "overloaded");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("has waited for 0.1 s")), "{problem}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.metrics().await.sum("rscore_rejected_total", &[("reason", "queue_time")]), 1.0);
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [200.0]);
    assert_eq!(calls(&server, model).await, (1.0, 1.0), "the other never reached R");
}

#[tokio::test]
async fn a_request_whose_time_is_up_while_it_waits_is_told_so() {
    let (model, mut gate) = ("expired", Gate::new());
    let server = setup(model, &gate).start().await;
    let first = server.send_beside(Request::predict(model, row(100.0)));
    gate.begun().await;
    let hurried = Request::predict(model, row(1.0)).header("X-Request-Timeout-Ms", "50");
    server.send(hurried).await.is_problem(504, "deadline-exceeded");
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [200.0]);
    assert_eq!(calls(&server, model).await, (1.0, 1.0), "it never reached R");
}

#[tokio::test]
async fn a_large_request_uses_all_workers_and_comes_back_in_order() {
    let model = "split";
    let script = "score <- function(model, data) data.frame(twice = 2 * data$x, worker = Sys.getpid())";
    let server = Setup::new()
        .workers(2)
        .script(model, script)
        // The process id gives each part away; the proof uses one worker.
        .file(model, "rscore.toml", MANIFEST)
        .start()
        .await;
    let rows: Vec<String> = (0..1000).map(|x| format!("{{\"x\": {x}.5}}")).collect();
    let body = format!("[{}]", rows.join(","));
    // Only workers that are free at that moment share a request, and one may be looked
    // after just then.
    let split = eventually("a request on both workers", || async {
        let predictions = server.send(Request::predict(model, body.clone())).await.predictions();
        let twice: Vec<f64> = predictions.iter().map(|row| row["twice"].as_f64().unwrap()).collect();
        assert_eq!(twice, (0..1000).map(|x| f64::from(x) * 2.0 + 1.0).collect::<Vec<_>>());
        let mut workers: Vec<i64> = predictions.iter().map(|row| row["worker"].as_i64().unwrap()).collect();
        workers.dedup();
        (workers.len() > 1).then_some(workers)
    })
    .await;
    assert_eq!(split.len(), 2, "each part in one piece: {split:?}");
}

#[tokio::test]
async fn a_model_that_looks_at_the_whole_batch_is_not_joined() {
    let model = "centred";
    let server = Setup::new().train(model, "lm(dist ~ I(speed - mean(speed)), cars)").start().await;
    let details = server.send(Request::get("/models/centred")).await.json();
    assert_eq!(details["joins_requests"], Value::Bool(false), "{details}");
    assert_eq!(details["row_independence"]["state"], "not_proved", "{details}");
}

#[tokio::test]
async fn a_model_that_is_found_to_look_at_other_rows_is_joined_no_more() {
    let (model, mut gate) = ("leaning", Gate::new());
    // The sample has no such values, so that the proof knows nothing of it.
    let script = "
score <- function(model, data) {
  if (any(data$x == 100)) gate()
  2 * data$x + (nrow(data) > 1 && any(data$x > 1000))
}";
    let program = Setup::new()
        .script(model, &format!("{}{script}", gate.script()))
        .file(model, "rscore.toml", MANIFEST)
        .file(model, "sample.json", r#"[{"x": 1}, {"x": 2}, {"x": 3}]"#)
        .settings(|settings| settings.batching.audit_every = 1)
        .run()
        .await;
    let details = || async { program.send(Request::get("/models/leaning")).await.json() };
    let found = || async { program.metrics().await.sum("rscore_row_independence_failures_total", &[("model", model)]) };
    assert_eq!(details().await["row_independence"], json!({"state": "proved", "rows": 3, "made_up": false}));
    let values = [2000.0, 3000.0];

    // What shares its call with others and stays within what was proved is audited too.
    for (reply, expected) in together(&program, &mut gate, model, &[4.0, 5.0]).await.iter().zip([8.0, 10.0]) {
        assert_eq!(reply.predictions(), [expected]);
    }
    assert_eq!((found().await, &details().await["joins_requests"]), (0.0, &Value::Bool(true)));

    for (reply, expected) in together(&program, &mut gate, model, &values).await.iter().zip([4001.0, 6001.0]) {
        assert_eq!(reply.predictions(), [expected], "nobody knew yet");
    }
    eventually("an audit that finds it", || async { (found().await == 1.0).then_some(()) }).await;
    let details = details().await;
    assert_eq!(details["joins_requests"], Value::Bool(false), "{details}");
    let reason = "row 0 alone gave another prediction than among others";
    assert_eq!(details["row_independence"], json!({"state": "refuted", "reason": reason}));

    let before = calls(&program, model).await;
    for (reply, expected) in together(&program, &mut gate, model, &values).await.iter().zip([4000.0, 6000.0]) {
        assert_eq!(reply.predictions(), [expected], "as R gives it for the row alone");
    }
    assert_eq!(calls(&program, model).await, (before.0 + 3.0, before.1 + 3.0), "each had a call of its own");
    assert_eq!(found().await, 1.0);
    let told = |line: &Value| {
        line["level"] == "ERROR"
            && line["message"].as_str().is_some_and(|text| text.contains("not independent after all"))
    };
    assert!(program.logged("what was found", told).await["message"].as_str().is_some_and(|text| text.contains(reason)));
    assert_eq!(program.log().iter().filter(|line| told(line)).count(), 1);
}

#[tokio::test]
async fn a_proof_that_hangs_does_not_keep_the_model_from_being_served() {
    let model = "slow_alone";
    // Warm-up is off, so that the proof is the first to score.
    let script = "score <- function(model, data) {\n  if (nrow(data) == 1 && data$x != 7) repeat {}\n  2 * data$x\n}";
    let server = Setup::new()
        .script(model, script)
        .file(model, "rscore.toml", &format!("warm_up = false\n{MANIFEST}"))
        .settings(|settings| settings.models.load_timeout = Duration::from_secs(3))
        .start()
        .await;
    let details = server.send(Request::get("/models/slow_alone")).await.json();
    assert_eq!(details["row_independence"]["reason"], "the proof took longer than 3 s", "{details}");
    assert_eq!(server.send(Request::predict(model, row(7.0))).await.predictions(), [14.0]);
}
