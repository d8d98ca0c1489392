//! Crashes that a model brings about by itself, from R and from compiled code:
//! the request that does it is given up and then refused for a while, and no
//! other one notices.

use std::time::Duration;

use serde_json::Value;

use super::{compile, counted, workers_without};
use crate::support::client::{Reply, Request};
use crate::support::processes;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

const SCRIPT: &str = r#"
dyn.load(file.path(getwd(), "compiled.so"))
deep <- function(n) { x <- n + 1; deep(x) }
score <- function(model, data) {
  switch(data$what[1L],
    fault = .Call("fault"),
    aborts = .Call("aborts"),
    spins = .Call("spins"),
    quits = quit(status = 3),
    kills = tools::pskill(Sys.getpid(), 9L),
    deep = deep(0),
    sleeps = Sys.sleep(60),
    loops = repeat {}
  )
  2 * data$x
}
"#;

const MANIFEST: &str = "warm_up = false\n[columns]\nwhat = \"character\"\nx = \"double\"\n";

/// A server of two workers whose model has compiled code of its own.
fn setup(model: &str) -> Setup {
    let setup = Setup::new().workers(2).script(model, SCRIPT).file(model, "rscore.toml", MANIFEST);
    compile(&setup, model);
    setup
}

fn body(what: &str, x: i32) -> String {
    format!(r#"[{{"what": "{what}", "x": {x}}}]"#)
}

async fn ask(server: &TestServer, model: &str, what: &str, x: i32) -> Reply {
    server.send(Request::predict(model, body(what, x))).await
}

async fn deaths(server: &TestServer, model: &str, reason: &str) -> f64 {
    server.metrics().await.sum("rscore_worker_deaths_total", &[("model", model), ("reason", reason)])
}

#[tokio::test]
async fn whatever_kills_two_workers_is_given_up_and_then_refused() {
    let model = "crashing";
    let server = setup(model).start().await;
    // A kill may come from outside, so that it takes more of them.
    let ways = [("fault", 2.0), ("aborts", 2.0), ("quits", 2.0), ("kills", 4.0)];
    let mut died = 0.0;
    for (what, losses) in ways {
        ask(&server, model, what, 1).await.is_problem(502, "model-crashed");
        died += losses;
        counted(&server, "rscore_worker_deaths_total", model, "crashed", died).await;
        workers_without(&server, model, 2, &[]).await;

        // The same rows again, in another form: not tried, so nothing dies.
        let columns = format!(r#"{{"x": [1], "what": ["{what}"]}}"#);
        let refused = server.send(Request::predict(model, columns)).await;
        let problem = refused.is_problem(502, "model-crashed");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(problem["detail"].as_str().unwrap().contains("under the digest"), "{problem}");
        assert_eq!(deaths(&server, model, "crashed").await, died, "{what}");
        assert_eq!(ask(&server, model, "doubles", 21).await.predictions(), [42.0]);
    }
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("rscore_quarantine_entries", &[("model", model)]), ways.len() as f64);
    assert_eq!(metrics.sum("rscore_quarantined_total", &[("model", model)]), ways.len() as f64);
}

#[tokio::test]
async fn a_quarantine_ends_and_can_be_off() {
    let model = "short_quarantine";
    let setup = setup(model).settings(|settings| settings.limits.quarantine_time = Duration::from_millis(1));
    let server = setup.start().await;
    for round in 1..=2 {
        ask(&server, model, "quits", 1).await.is_problem(502, "model-crashed");
        counted(&server, "rscore_worker_deaths_total", model, "crashed", 2.0 * f64::from(round)).await;
    }
    drop(server);

    let model = "no_quarantine";
    let server = self::setup(model).settings(|settings| settings.limits.quarantine_entries = 0).start().await;
    for round in 1..=2 {
        ask(&server, model, "quits", 1).await.is_problem(502, "model-crashed");
        counted(&server, "rscore_worker_deaths_total", model, "crashed", 2.0 * f64::from(round)).await;
    }
    assert_eq!(server.metrics().await.sum("rscore_quarantine_entries", &[("model", model)]), 0.0);
}

#[tokio::test]
async fn a_quarantine_holds_as_many_as_it_may() {
    let model = "small_quarantine";
    let server = setup(model).settings(|settings| settings.limits.quarantine_entries = 1).start().await;
    let held = || async { server.metrics().await.sum("rscore_quarantine_entries", &[("model", model)]) };
    for (x, died) in [(1, 2.0), (2, 4.0)] {
        ask(&server, model, "quits", x).await.is_problem(502, "model-crashed");
        counted(&server, "rscore_worker_deaths_total", model, "crashed", died).await;
        assert_eq!(held().await, 1.0);
    }
    let refused = ask(&server, model, "quits", 2).await;
    refused.is_problem(502, "model-crashed");
    assert!(refused.header("retry-after").is_some(), "it was not tried");
    // The first was forgotten for the second, and costs workers again.
    ask(&server, model, "quits", 1).await.is_problem(502, "model-crashed");
    counted(&server, "rscore_worker_deaths_total", model, "crashed", 6.0).await;
    assert_eq!(held().await, 1.0);
}

#[tokio::test]
async fn the_log_names_the_digest_that_a_refusal_names() {
    let model = "digested";
    let program = setup(model).run().await;
    program.send(Request::predict(model, body("quits", 1))).await.is_problem(502, "model-crashed");
    let given_up = program.logged("a request that was given up", |line| line["request.digest"].is_string()).await;
    let refused = program.send(Request::predict(model, body("quits", 1))).await;
    let detail = refused.is_problem(502, "model-crashed")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(given_up["request.digest"].as_str().unwrap()), "{detail}\n{given_up}");
}

#[tokio::test]
async fn endless_recursion_is_an_error_and_costs_its_worker_in_good_order() {
    let model = "recursive";
    let server = setup(model).start().await;
    let problem = ask(&server, model, "deep", 1).await.is_problem(500, "model-error");
    let message = problem["condition"]["message"].as_str().unwrap();
    assert!(message.contains("infinite recursion") || message.contains("stack"), "{problem}");
    counted(&server, "rscore_worker_deaths_total", model, "retired", 1.0).await;
    assert_eq!(deaths(&server, model, "crashed").await, 0.0);
    assert_eq!(ask(&server, model, "doubles", 21).await.predictions(), [42.0]);
}

#[tokio::test]
async fn calls_that_hang_end_at_their_deadlines_and_others_go_on() {
    let model = "hanging";
    let server = setup(model).start().await;
    for (what, killed) in [("sleeps", 0.0), ("loops", 0.0), ("spins", 1.0)] {
        let request = Request::predict(model, body(what, 1)).header("X-Request-Timeout-Ms", "300");
        let hanging = server.send_beside(request);
        // The other worker answers all the while.
        let mut answered = 0;
        while !hanging.is_finished() {
            assert_eq!(ask(&server, model, "doubles", 21).await.predictions(), [42.0]);
            answered += 1;
        }
        assert!(answered > 0);
        hanging.await.unwrap().is_problem(504, "deadline-exceeded");
        counted(&server, "rscore_worker_deaths_total", model, "timed_out", killed).await;
    }
    let workers = workers_without(&server, model, 2, &[]).await;
    assert!(workers.iter().all(|worker| processes::runs(worker.id)));
    let details = server.send(Request::get(&format!("/models/{model}"))).await.json();
    assert_eq!(details["workers_ready"], Value::from(2), "{details}");
}
