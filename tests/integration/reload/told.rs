//! What a version went through is told: in words by `GET /models/{name}`, in
//! numbers by the metrics.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{details, not_polling, prediction, replace};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::metrics::Metrics;
use crate::support::processes::send_signal;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

const MODEL: &str = "experienced";

/// Multiplies; ends its process at -1, and recurses without end at -2.
fn script(factor: u32) -> String {
    format!(
        "load <- function(dir) list()\n\
         deep <- function(n) deep(n + 1)\n\
         score <- function(model, data) {{\n\
           if (any(data$x == -1)) quit(status = 3)\n\
           if (any(data$x == -2)) deep(0)\n\
           {factor} * data$x\n\
         }}"
    )
}

/// Waits until the version says that it has these workers, zygote and generation.
async fn says(server: &TestServer, what: &str, workers: Value, restarts: u64, generation: u64) -> Value {
    eventually(what, || async {
        let details = details(server, MODEL).await;
        let zygote = &details["zygote"];
        let right = details["workers"] == workers
            && (&zygote["state"], &zygote["restarts"]) == (&json!("ready"), &json!(restarts))
            && details["generation"] == generation;
        right.then_some(details)
    })
    .await
}

async fn reload(server: &TestServer) -> u16 {
    server.send(Request::new("POST", &format!("/models/{MODEL}/reload?wait=true"))).await.status
}

fn count(metrics: &Metrics, name: &str, label: &str, value: &str) -> f64 {
    metrics.sum(name, &[("model", MODEL), ("version", "1"), (label, value)])
}

#[tokio::test]
async fn all_that_a_version_went_through_is_told() {
    let setup = Setup::new().workers(2).file(MODEL, "score.R", &script(2));
    let server = not_polling(setup).start().await;
    let fresh = says(&server, "a fresh version", json!({"idle": 2, "busy": 0, "ended": {}}), 0, 1).await;
    assert_eq!(
        (&fresh["state"], &fresh["workers_ready"], &fresh["loading"]),
        (&json!("ready"), &json!(2), &json!(false))
    );
    assert!(fresh.get("last_error").is_none() && fresh["zygote"].get("last_error").is_none(), "{fresh}");

    // Two workers crash, and one is replaced in good order.
    server.send(Request::predict(MODEL, r#"[{"x": -1}]"#)).await.is_problem(502, "model-crashed");
    server.send(Request::predict(MODEL, r#"[{"x": -2}]"#)).await.is_problem(500, "model-error");
    let ended = json!({"idle": 2, "busy": 0, "ended": {"crashed": 2, "retired": 1}});
    let crashed = says(&server, "three ends", ended.clone(), 0, 1).await;
    assert!(
        crashed["zygote"]["last_error"].as_str().is_some_and(|error| error.starts_with("a worker died")),
        "{crashed}"
    );
    send_signal(server.zygote(MODEL).expect("a zygote"), Signal::KILL);
    let restarted = says(&server, "another zygote", ended, 1, 1).await;
    assert!(
        restarted["zygote"]["last_error"].as_str().is_some_and(|error| error.contains("the zygote ended")),
        "{restarted}"
    );

    // A load that fails, and one that does not.
    let path = server.repository.version(MODEL, 1).join("score.R");
    replace(&path, "stop('no weights')");
    assert_eq!(reload(&server).await, 409);
    let failed = details(&server, MODEL).await;
    let error = failed["last_error"].clone();
    assert!(error["reason"].as_str().is_some_and(|reason| reason.contains("no weights")), "{failed}");
    assert!(error["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{failed}");
    assert_eq!((&failed["state"], &failed["generation"]), (&json!("ready"), &json!(1)), "the first serves on");
    replace(&path, script(3));
    assert_eq!(reload(&server).await, 200);
    let again = says(&server, "the next", json!({"idle": 2, "busy": 0, "ended": {}}), 0, 2).await;
    assert!(again.get("last_error").is_none(), "{again}");
    assert_eq!(prediction(&server, MODEL).await, 63.0);

    let metrics = server.metrics().await;
    for (name, label, value, wanted) in [
        ("rscore_worker_starts_total", "reason", "initial", 4.0),
        ("rscore_worker_starts_total", "reason", "replacement", 3.0),
        ("rscore_worker_deaths_total", "reason", "crashed", 2.0),
        ("rscore_worker_deaths_total", "reason", "retired", 1.0),
        ("rscore_zygote_deaths_total", "reason", "crashed", 1.0),
        ("rscore_reloads_total", "outcome", "loaded", 2.0),
        ("rscore_reloads_total", "outcome", "failed", 1.0),
    ] {
        assert_eq!(count(&metrics, name, label, value), wanted, "{name} {value}");
    }
    // The generation before takes a moment to end.
    let version = [("model", MODEL), ("version", "1")];
    for (name, wanted) in [("rscore_model_generation", 2.0), ("rscore_zygote_up", 1.0), ("rscore_workers", 2.0)] {
        eventually(name, || async { (server.metrics().await.sum(name, &version) == wanted).then_some(()) }).await;
    }
}
