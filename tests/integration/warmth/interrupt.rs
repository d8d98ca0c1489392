//! Calls past their deadline: interrupted where R lets itself be, else killed.

use std::time::{Duration, Instant};

use rscore::pool::CallEnd;
use rscore::telemetry::metrics::DeathReason;

use super::bench::{Bench, PATIENCE, call, number};

const SCRIPT: &str = r#"
score <- function(model, data) {
  switch(data$what,
    sleep = Sys.sleep(60),
    loop = repeat {},
    caught = repeat tryCatch(stop("again"), error = function(e) NULL, warning = function(w) NULL),
    system = system("sleep 60"),
    deaf = suspendInterrupts(repeat {}),
    stubborn = repeat tryCatch(repeat {}, interrupt = function(i) NULL),
    multiply = crossprod(matrix(1, 3000, 3000)),
    warn = { warning("first"); Sys.sleep(60) }
  )
  2 * data$x
}
"#;

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn r_code_past_its_deadline_is_interrupted_and_its_worker_goes_on() {
    let bench = Bench::start(SCRIPT).await;
    let first = bench.worker().await.id();
    for what in ["sleep", "loop", "caught", "warn"] {
        let mut worker = bench.worker().await;
        let end = worker.score_until(&call(what, 1.0), Instant::now() + SOON, PATIENCE).await.unwrap_err();
        assert!(matches!(end, CallEnd::TimedOut { recovered: true }), "{what}: {end}");
        assert_eq!(number(&worker.score(&call("double", 4.0)).await.unwrap()), 8.0, "{what}");
        assert_eq!(worker.id(), first, "{what}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_interrupted_call_answers_with_a_condition_of_its_own() {
    let bench = Bench::start(SCRIPT).await;
    let mut worker = bench.worker().await;
    // A signal before the call is forgotten and one during it counts: so the call
    // is interrupted until it is noticed.
    let answer = {
        let interrupter = bench.pool.process_ids()[1];
        let slow = call("sleep", 1.0);
        let mut scoring = std::pin::pin!(worker.score(&slow));
        loop {
            if let Ok(answer) = tokio::time::timeout(SOON, &mut scoring).await {
                break answer.unwrap();
            }
            interrupt(interrupter);
        }
    };
    let condition = answer.outcome.unwrap_err();
    assert_eq!(condition.class, ["rscore_interrupted", "error", "condition"]);
    assert!(condition.message.contains("took too long"), "{}", condition.message);
    assert!(!answer.retire);
    drop(worker);
    bench.stop().await;
}

#[tokio::test]
async fn code_that_can_not_be_interrupted_is_killed_and_replaced() {
    let bench = Bench::start(SCRIPT).await;
    for what in ["system", "deaf", "stubborn"] {
        // On a busy machine a short deadline may pass before R is where it is deaf.
        let mut deadline = SOON;
        loop {
            let mut worker = bench.worker().await;
            match worker.score_until(&call(what, 1.0), Instant::now() + deadline, SOON).await.unwrap_err() {
                CallEnd::TimedOut { recovered: false } => {
                    bench.pool.discard(worker, DeathReason::TimedOut);
                    break;
                }
                CallEnd::TimedOut { recovered: true } if deadline < PATIENCE => deadline *= 2,
                end => panic!("{what}: {end}"),
            }
        }
        assert_eq!(bench.number("double", 4.0).await, 8.0, "{what}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn after_a_loop_of_c_code_the_next_call_is_right_in_any_case() {
    let bench = Bench::start(SCRIPT).await;
    let mut worker = bench.worker().await;
    match worker.score_until(&call("multiply", 1.0), Instant::now() + SOON, SOON).await.unwrap_err() {
        CallEnd::TimedOut { recovered: false } => bench.pool.discard(worker, DeathReason::TimedOut),
        CallEnd::TimedOut { recovered: true } => drop(worker),
        end @ CallEnd::Lost(_) => panic!("{end}"),
    }
    assert_eq!(bench.number("double", 4.0).await, 8.0);
    bench.stop().await;
}

#[tokio::test]
async fn a_late_interrupt_stops_no_later_call() {
    let bench = Bench::start(SCRIPT).await;
    let mut worker = bench.worker().await;
    for round in 0..200 {
        let x = f64::from(round);
        // Idle, or in the middle of a call that may or may not notice.
        worker.interrupt();
        let process = bench.pool.process_ids()[1];
        let disturbed = call("double", x);
        let (answer, ()) = tokio::join!(worker.score(&disturbed), async { interrupt(process) });
        match answer.unwrap().outcome {
            Ok(_) => {}
            Err(condition) => assert_eq!(condition.class[0], "rscore_interrupted"),
        }
        worker.interrupt();
        assert_eq!(number(&worker.score(&call("double", x)).await.unwrap()), 2.0 * x);
    }
    drop(worker);
    bench.stop().await;
}

#[tokio::test]
async fn a_call_that_is_late_before_it_began_is_not_begun() {
    let bench = Bench::start(SCRIPT).await;
    let mut worker = bench.worker().await;
    let end = worker.score_until(&call("sleep", 1.0), Instant::now(), PATIENCE).await.unwrap_err();
    assert!(matches!(end, CallEnd::TimedOut { recovered: true }));
    assert_eq!(worker.calls(), 0);
    drop(worker);
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_during_a_call_is_lost() {
    let bench = Bench::start("score <- function(model, data) quit(status = 3)").await;
    let mut worker = bench.worker().await;
    let end = worker.score_until(&call("quit", 1.0), Instant::now() + PATIENCE, SOON).await.unwrap_err();
    assert!(matches!(end, CallEnd::Lost(_)), "{end}");
    bench.pool.discard(worker, DeathReason::Crashed);
    bench.stop().await;
}

fn interrupt(process: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
}
