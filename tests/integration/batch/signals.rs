//! SIGTERM in each phase: the exit code never says that a run is complete when
//! it isn't.

use rustix::process::Signal;

use super::{UNTRIED, describe, doubled, job};
use crate::support::gate::Gate;

#[tokio::test]
async fn while_the_model_is_loaded() {
    let mut gate = Gate::new();
    let job = job("score <- function(model, data) data$x * 2", UNTRIED, 2, 3);
    job.write(
        "model/1/score.R",
        &format!("{}load <- function(dir) gate()\nscore <- function(model, data) data$x * 2", gate.script()),
    );
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::TERM);
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("--run-id r --resume"), "{said}");
}

#[tokio::test]
async fn while_r_scores_and_does_not_end() {
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 2, 3);
    describe(&job, "[limits]\nstop_timeout = \"200ms\"\n");
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::TERM);
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!job.exists("out/0.csv") && !job.exists("out/1.csv"));
}

#[tokio::test]
async fn while_r_scores_and_ends_in_time() {
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 2, 3);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::TERM);
    job.drains("r").await;
    gate.open().await;
    // One partition was committed, and the other never begun.
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    let resumed = job.start(&["--run-id", "r", "--resume"]);
    gate.begun().await;
    gate.open().await;
    let (code, said) = resumed.ended().await;
    assert_eq!(code, Some(0), "{said}");
    for partition in 0..2 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 3));
    }
}

#[tokio::test]
async fn with_the_last_partition_it_is_complete() {
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 1, 3);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::TERM);
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(job.read("out/0.csv"), doubled(0, 3));
}
