//! Temporary files: each worker has a folder of its own, which ends with it and
//! takes nothing from its siblings.

use std::path::PathBuf;
use std::time::Instant;

use rscore::telemetry::metrics::DeathReason;

use super::bench::{Bench, PATIENCE, call, kill, until};

const SCRIPT: &str = r#"
load <- function(dir) {
  weights <- tempfile("weights")
  writeLines("7", weights)
  list(weights = weights)
}
score <- function(model, data) {
  switch(data$what,
    weights = as.numeric(readLines(model$weights)),
    folder = tempdir(),
    variable = Sys.getenv("TMPDIR"),
    write = { path <- tempfile(); writeLines("mine", path); path },
    start = as.numeric(system("sleep 600 >/dev/null 2>&1 & echo $!", intern = TRUE)),
    quit = quit(status = 3),
    abort = tools::pskill(Sys.getpid(), 6L)
  )
}
"#;

async fn path(bench: &Bench, what: &str) -> PathBuf {
    use arrow_array::cast::AsArray;
    let answer = bench.score(what, 1.0).await;
    PathBuf::from(answer.outcome.unwrap().batch.column(0).as_string::<i32>().value(0))
}

#[tokio::test]
async fn each_worker_has_a_folder_of_its_own() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.size = 2).await;
    // While one worker is held the other one answers; the pool hands out first what
    // came back last.
    let held = bench.worker().await;
    let one = path(&bench, "folder").await;
    drop(held);
    let other = path(&bench, "folder").await;
    assert_ne!(one, other);
    for folder in [&one, &other] {
        assert!(folder.is_dir() && folder.starts_with(bench.temporary()), "{}", folder.display());
    }
    assert!(path(&bench, "write").await.is_file());
    // Only R's own folder moves; programs find TMPDIR as the operator set it.
    assert_eq!(path(&bench, "variable").await, bench.temporary());
    bench.stop().await;
    assert_eq!(std::fs::read_dir(bench.temporary()).unwrap().count(), 0, "everything was removed");
}

#[tokio::test]
async fn a_worker_that_quits_takes_nothing_from_its_siblings() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.size = 2).await;
    let mut worker = bench.worker().await;
    let file = path(&bench, "write").await;
    let end = worker.score_until(&call("quit", 1.0), Instant::now() + PATIENCE, PATIENCE).await;
    assert!(end.is_err());
    bench.pool.discard(worker, DeathReason::Crashed);
    until("the pool's refill", || bench.pool.size() == 2).await;
    assert!(file.is_file(), "another worker's file");
    for _ in 0..4 {
        assert_eq!(bench.number("weights", 1.0).await, 7.0, "the model's file");
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_folder_of_a_worker_that_ended_is_removed_however_it_ended() {
    let bench = Bench::start(SCRIPT).await;
    for what in ["killed", "discarded", "abort", "closed"] {
        let file = path(&bench, "write").await;
        let folder = file.parent().and_then(|parent| parent.parent()).unwrap().to_owned();
        assert!(folder.file_name().unwrap().to_str().unwrap().starts_with("worker-"), "{}", folder.display());
        let mut worker = bench.worker().await;
        match what {
            "killed" => kill(bench.pool.process_ids()[1]),
            "abort" => assert!(worker.score(&call(what, 1.0)).await.is_err()),
            _ => {}
        }
        match what {
            // By itself, when its socket closes.
            "closed" => drop(deadpool::managed::Object::take(worker)),
            _ => bench.pool.discard(worker, DeathReason::Stopped),
        }
        until("the removal", || !folder.exists()).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_a_model_started_ends_with_its_worker() {
    let bench = Bench::start(SCRIPT).await;
    let started = PathBuf::from(format!("/proc/{}", bench.number("start", 1.0).await));
    assert!(started.exists());
    bench.pool.discard(bench.worker().await, DeathReason::Stopped);
    // Where nobody reaps orphans it stays a zombie.
    until("its end", || {
        let state = std::fs::read_to_string(started.join("stat")).unwrap_or_default();
        state.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
    })
    .await;
    bench.stop().await;
}
