//! Workers that have served their term, and their successors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rscore::pool::memory::resident_bytes;
use rscore::telemetry::metrics;

use super::bench::{Bench, PATIENCE, call, number, until};

const SCRIPT: &str = r#"
kept <- NULL
score <- function(model, data) {
  if (data$what == "collect") gc()
  if (data$what == "keep") kept <<- numeric(data$x * 2^20 / 8) + 1
  2 * data$x
}
"#;

/// The value of a counter of workers of a model, by its reason.
fn count(metric: &str, model: &str, reason: &str) -> u64 {
    let text = metrics::render();
    let series = format!("{metric}{{model=\"{model}\",version=\"1\",reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn a_worker_is_replaced_after_its_calls_and_every_call_is_answered() {
    metrics::install();
    let bench = Bench::start_with(SCRIPT, |settings| {
        settings.model = Arc::from("term-calls");
        settings.upkeep.max_calls = 5;
    })
    .await;
    let mut workers = BTreeSet::new();
    while workers.len() < 4 {
        let mut worker = bench.worker().await;
        workers.insert(worker.id());
        let x = worker.calls() as f64;
        assert_eq!(number(&worker.score(&call("double", x)).await.unwrap()), 2.0 * x);
    }
    until("the end of the others", || count("rscore_worker_deaths_total", "term-calls", "retired") == 3).await;
    assert_eq!(count("rscore_worker_starts_total", "term-calls", "initial"), 1);
    assert!(count("rscore_worker_starts_total", "term-calls", "replacement") >= 3);
    assert_eq!(count("rscore_worker_deaths_total", "term-calls", "crashed"), 0);
    assert_eq!(bench.pool.size(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_is_replaced_before_r_looks_through_all_of_its_heap_again() {
    metrics::install();
    let bench = Bench::start_with(SCRIPT, |settings| {
        settings.model = Arc::from("term-collections");
        settings.upkeep.max_collections = 3;
    })
    .await;
    let mut worker = bench.worker().await;
    let first = worker.id();
    // What it answers tells of those before the answer: the call's own counts.
    for collections in 1..=2 {
        let reply = worker.score(&call("collect", 1.0)).await.unwrap();
        assert!(reply.collections >= collections, "{} of {collections}", reply.collections);
    }
    drop(worker);
    let mut workers = BTreeSet::from([first]);
    // Its beginning is paid for by its age at some time, and its successor is there a
    // little later.
    let started = Instant::now();
    while workers.len() < 4 {
        assert!(started.elapsed() < PATIENCE, "only {workers:?} worked");
        let mut worker = bench.worker().await;
        worker.score(&call("collect", 1.0)).await.unwrap();
        workers.insert(worker.id());
    }
    until("the end of the others", || count("rscore_worker_deaths_total", "term-collections", "retired") == 3).await;
    assert_eq!(count("rscore_worker_deaths_total", "term-collections", "crashed"), 0);
    bench.stop().await;
}

#[tokio::test]
async fn collections_of_older_garbage_bring_the_full_one_nearer() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.upkeep.max_collections = 0).await;
    let mut worker = bench.worker().await;
    // gc() looks at all generations, and every second one finds what has survived another.
    for (calls, least) in [(2, 21), (2, 42), (40, 400)] {
        let mut position = 0;
        for _ in 0..calls {
            position = worker.score(&call("collect", 1.0)).await.unwrap().collections;
        }
        assert!(position >= least, "{position} of {least}");
    }
    drop(worker);
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_serves_on_until_its_successor_is_there() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.upkeep.max_calls = 1).await;
    let mut worker = bench.worker().await;
    let first = worker.id();
    worker.score(&call("double", 1.0)).await.unwrap();
    drop(worker);
    // Its term is over now, which is noticed here; there is no successor yet.
    let mut worker = bench.worker().await;
    assert_eq!(worker.id(), first);
    // The successor is forked while the old one is busy.
    until("the fork", || bench.pool.process_ids().len() == 3).await;
    assert_eq!(number(&worker.score(&call("double", 4.0)).await.unwrap()), 8.0);
    drop(worker);
    let mut worker = bench.worker().await;
    assert_ne!(worker.id(), first);
    assert_eq!(number(&worker.score(&call("double", 4.0)).await.unwrap()), 8.0);
    drop(worker);
    bench.stop().await;
}

#[tokio::test]
async fn an_idle_worker_grows_old_too() {
    let bench = Bench::start_with(SCRIPT, |settings| settings.upkeep.max_age = Duration::from_millis(100)).await;
    let first = bench.pool.process_ids()[1];
    until("the exchange", || bench.pool.process_ids()[1..].iter().all(|process| *process != first)).await;
    assert_eq!(bench.number("double", 4.0).await, 8.0);
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_that_keeps_memory_is_replaced() {
    const MEGABYTE: u64 = 1 << 20;
    let bench = Bench::start(SCRIPT).await;
    let needed = resident_bytes(bench.pool.process_ids()[1]);
    bench.stop().await;

    let bench = Bench::start_with(SCRIPT, |settings| settings.upkeep.max_rss_bytes = needed + 64 * MEGABYTE).await;
    let first = bench.pool.process_ids()[1];
    assert_eq!(bench.number("double", 1.0).await, 2.0);
    bench.score("keep", 128.0).await;
    until("the exchange", || bench.pool.process_ids()[1..].iter().all(|process| *process != first)).await;
    assert!(resident_bytes(bench.pool.process_ids()[1]) < needed + 64 * MEGABYTE);
    bench.stop().await;
}

#[tokio::test]
async fn a_bound_that_a_fresh_worker_breaks_replaces_none() {
    let bench = Bench::start_with(SCRIPT, |settings| {
        settings.upkeep.max_rss_bytes = 1;
        settings.upkeep.max_calls = 100;
    })
    .await;
    let first = bench.worker().await.id();
    for _ in 0..20 {
        bench.score("double", 1.0).await;
    }
    assert_eq!(bench.worker().await.id(), first);
    bench.stop().await;
}
