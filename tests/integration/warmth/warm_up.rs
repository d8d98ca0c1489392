//! Scoring in the zygote, before the fork.

use rscore::telemetry::metrics::DeathReason;

use super::bench::{Bench, kill, until, warm_up};

/// Says how often it was called before in this process or its parent, and
/// whether R had compiled a function of its own before this call.
const SCRIPT: &str = r#"
calls <- 0
helper <- function(x) {
  total <- 0
  for (value in x) total <- total + value
  total
}
score <- function(model, data) {
  calls <<- calls + 1
  compiled <- typeof(.Internal(bodyCode(helper))) == "bytecode"
  helper(data$x)
  if (data$x < 0) switch(data$what,
    stop = stop("made-up rows make no sense"),
    quit = quit(status = 3),
    open = connection <<- file(tempfile(), "w"),
    recurse = { descend <- function(n) descend(n + 1); descend(1) },
    warn = warning("so-so")
  )
  if (data$what == "calls") calls - 1 else as.numeric(compiled)
}
"#;

#[tokio::test]
async fn workers_inherit_compiled_code() {
    let cold = Bench::start(SCRIPT).await;
    assert_eq!(cold.number("compiled", 1.0).await, 0.0, "nothing was compiled before");
    assert_eq!(cold.number("calls", 1.0).await, 1.0);
    cold.stop().await;

    let warm = Bench::start_with(SCRIPT, |settings| settings.warm_up = warm_up("warn", -1.0)).await;
    assert_eq!(warm.number("compiled", 1.0).await, 1.0);
    assert_eq!(warm.number("calls", 1.0).await, 4.0, "three calls of the warm-up and one before");
    warm.stop().await;
}

#[tokio::test]
async fn a_warm_up_that_fails_is_no_reason_not_to_serve() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.warm_up = warm_up("stop", -1.0)).await;
    assert_eq!(bench.number("calls", 1.0).await, 1.0, "the call that failed was the last");
    bench.stop().await;
}

#[tokio::test]
async fn a_process_that_scoring_spoils_is_replaced_by_one_that_did_not_score() {
    for spoilt in ["quit", "recurse"] {
        let bench = Bench::start_with(SCRIPT, |settings| settings.warm_up = warm_up(spoilt, -1.0)).await;
        assert_eq!(bench.number("calls", 1.0).await, 0.0, "{spoilt}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_connection_that_a_warm_up_opened_is_closed_and_shared_by_nobody() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.warm_up = warm_up("open", -1.0)).await;
    assert_eq!(bench.number("calls", 1.0).await, 3.0, "the process is fit to be forked");
    bench.stop().await;
}

#[tokio::test]
async fn the_zygote_that_replaces_a_dead_one_warms_up_too() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.warm_up = warm_up("warn", -1.0)).await;
    let zygote = bench.pool.process_ids()[0];
    kill(zygote);
    until("another zygote", || bench.pool.process_ids()[0] != zygote).await;
    // This one was forked by the zygote that is gone.
    bench.pool.discard(bench.worker().await, DeathReason::Stopped);
    assert_eq!(bench.number("calls", 1.0).await, 3.0);
    bench.stop().await;
}
