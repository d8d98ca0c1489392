//! Workers that end on their own or by another's hand.

use rustix::process::Signal;

use super::{GATED, GATED_ROW, PLAIN_ROW, counted, workers_without};
use crate::support::client::Request;
use crate::support::gate::Gate;
use crate::support::processes::send_signal;
use crate::support::setup::Setup;

const DEATHS: &str = "rscore_worker_deaths_total";
const STARTS: &str = "rscore_worker_starts_total";

#[tokio::test]
async fn a_worker_that_is_killed_while_idle_is_replaced() {
    let model = "killed_idle";
    let server = Setup::new().workers(2).script(model, "score <- function(model, data) 2 * data$x").start().await;
    let workers = server.workers(model);
    assert_eq!(workers.len(), 2);
    counted(&server, STARTS, model, "initial", 2.0).await;
    counted(&server, DEATHS, model, "crashed", 0.0).await;

    let victim = workers[0].id;
    send_signal(victim, Signal::KILL);
    // More requests than workers, the first of them before the death is known.
    for _ in 0..4 {
        assert_eq!(server.send(Request::predict(model, r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
    }
    workers_without(&server, model, 2, &[victim]).await;
    counted(&server, DEATHS, model, "crashed", 1.0).await;
    counted(&server, STARTS, model, "replacement", 1.0).await;
    assert_eq!(server.operator("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_request_whose_worker_is_killed_is_answered_by_another() {
    let model = "killed_busy";
    let mut gate = Gate::new();
    let server = Setup::new().workers(2).script(model, &format!("{}{GATED}", gate.script())).start().await;

    let request = server.send_beside(Request::predict(model, GATED_ROW));
    let victim = gate.begun().await;
    assert!(server.workers(model).iter().any(|worker| worker.id == victim));
    send_signal(victim, Signal::KILL);
    let second = gate.begun().await;
    assert_ne!(second, victim);
    // The other worker is held at the gate; a fresh one answers meanwhile.
    assert_eq!(server.send(Request::predict(model, PLAIN_ROW)).await.predictions(), [42.0]);
    gate.open().await;
    let reply = request.await.unwrap();
    assert_eq!(reply.predictions(), [42.0]);

    let workers = workers_without(&server, model, 2, &[victim]).await;
    assert!(workers.iter().any(|worker| worker.id == second), "the worker that answered stays");
    counted(&server, DEATHS, model, "crashed", 1.0).await;
    counted(&server, STARTS, model, "replacement", 1.0).await;
}

#[tokio::test]
async fn a_request_that_kills_its_worker_twice_is_given_up() {
    // A kill may come from outside, so that it takes more of them.
    let ways = [("quits", "quit(status = 7)", 2), ("kills_itself", "tools::pskill(Sys.getpid(), 9L)", 4)];
    for (model, death, losses) in ways {
        let script = format!("score <- function(model, data) {{\n  if (data$x[1] < 0) {death}\n  2 * data$x\n}}");
        let server = Setup::new().workers(2).script(model, &script).start().await;
        let before: Vec<u32> = server.workers(model).iter().map(|worker| worker.id).collect();

        let reply = server.send(Request::predict(model, r#"[{"x": -1}]"#)).await;
        reply.is_problem(502, "model-crashed");
        for _ in 0..3 {
            assert_eq!(server.send(Request::predict(model, r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
        }
        workers_without(&server, model, 2, &before).await;
        counted(&server, DEATHS, model, "crashed", f64::from(losses)).await;
        counted(&server, STARTS, model, "replacement", f64::from(losses)).await;
    }
}

#[tokio::test]
async fn a_request_whose_workers_are_killed_twice_is_answered_all_the_same() {
    let model = "unlucky";
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); 2 * data$x }}", gate.script());
    let server = Setup::new().workers(2).script(model, &script).start().await;
    let request = server.send_beside(Request::predict(model, r#"[{"x": 21}]"#));
    for _ in 0..2 {
        let victim = gate.begun().await;
        send_signal(victim, Signal::KILL);
    }
    gate.begun().await;
    gate.open().await;
    assert_eq!(request.await.unwrap().predictions(), [42.0]);
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("rscore_quarantine_entries", &[("model", model)]), 0.0);
}

#[tokio::test]
async fn a_worker_that_ran_out_of_stack_answers_and_is_replaced() {
    let model = "recurses";
    let script = "descend <- function(n) descend(n + 1)\n\
                  score <- function(model, data) { if (data$x[1] < 0) descend(1); 2 * data$x }";
    let server = Setup::new().script(model, script).start().await;
    let before: Vec<u32> = server.workers(model).iter().map(|worker| worker.id).collect();
    server.send(Request::predict(model, r#"[{"x": -1}]"#)).await.is_problem(500, "model-error");
    assert_eq!(server.send(Request::predict(model, r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
    workers_without(&server, model, 1, &before).await;
    counted(&server, DEATHS, model, "retired", 1.0).await;
}
