//! Workers that die, hang and fail: the server answers on, says what happened,
//! and has its workers back.

mod crashes;
mod crashes_in_code;
mod deadlines;
mod errors;
mod zygote;

use crate::support::eventually;
use crate::support::processes::Process;
use crate::support::server::TestServer;

/// Doubles `x`; waits at a gate before that when `wait` says so.
const GATED: &str = "score <- function(model, data) {\n  if (any(data$wait)) gate()\n  2 * data$x\n}";

const PLAIN_ROW: &str = r#"[{"x": 21, "wait": false}]"#;
const GATED_ROW: &str = r#"[{"x": 21, "wait": true}]"#;

/// Waits until a model has `count` workers, none of which is `gone`.
async fn workers_without(server: &TestServer, model: &str, count: usize, gone: &[u32]) -> Vec<Process> {
    eventually("a pool of the right size", || async {
        let workers = server.workers(model);
        let right = workers.len() == count && workers.iter().all(|worker| !gone.contains(&worker.id));
        right.then_some(workers)
    })
    .await
}

/// Waits until a counter of a model has a value.
async fn counted(server: &TestServer, metric: &str, model: &str, reason: &str, value: f64) {
    let what = format!("{metric} with the reason {reason} and the value {value}");
    eventually(&what, || async {
        let sum = server.metrics().await.sum(metric, &[("model", model), ("reason", reason)]);
        (sum == value).then_some(())
    })
    .await;
}
