//! Looking at a run from outside, cancelling it, and having failures tried again.

use serde_json::Value;

use super::{UNTRIED, X, describe, doubled, job};
use crate::support::eventually;
use crate::support::gate::Gate;

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_plan_says_what_would_be_scored_and_writes_nothing() {
    let job = job("score <- function(model, data) data$x * 2", X, 3, 4);
    let planned = job.batch(&["plan", "job.toml", "--json"]).await;
    let lines: Vec<Value> = text(&planned).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["output"], "1.csv", "the largest first, then by name");
    for file in ["in/01.csv", "in/total.csv", "in/notes.txt"] {
        job.write(file, "x\n1\n");
    }
    let planned = text(&job.batch(&["plan", "job.toml"]).await);
    assert!(planned.contains("left out    2 objects do not fit inputs.data (in/{p:int}.csv), such as "), "{planned}");
    assert!(!job.exists("out"));
}

#[tokio::test]
async fn status_and_logs_are_read_while_the_run_goes_on_and_it_is_cancelled() {
    let mut gate = Gate::new();
    let script = format!(
        "{}score <- function(model, data) {{ message('looking at ', data$x[1]); print(1:3); gate(); data$x * 2 }}",
        gate.script()
    );
    let job = job(&script, UNTRIED, 2, 4);
    describe(&job, "[limits]\nshard_timeout = \"1s\"\n");
    let shard = job.start(&["--run-id", "r", "--progress", "json", "--admin-listen", "127.0.0.1:0"]);
    gate.begun().await;
    let metrics = shard.metrics().await;
    assert!(metrics.contains("rscore_batch_partitions{state=\"planned\"} 2"), "{metrics}");
    let status = eventually("a heartbeat that says what is running", || async {
        let status: Value = serde_json::from_str(&text(&job.batch(&["status", "job.toml", "--json"]).await)).unwrap();
        let running = status["shards"][0]["running"].as_array()?;
        (!running.is_empty()).then(|| status.clone())
    })
    .await;
    assert_eq!((&status["state"], &status["partitions"], &status["settled"]), (&"open".into(), &2.into(), &0.into()));
    let run = job.path("out/_rscore/runs/r");
    let log = eventually("the log of a partition that is in R", || async {
        let mut logs = String::new();
        // Either may have come to R first.
        for partition in ["p=0", "p=1"] {
            logs += &text(&job.batch(&["logs", run.to_str().unwrap(), "--partition", partition]).await);
        }
        logs.contains("[1] 1 2 3").then_some(logs)
    })
    .await;
    assert!(log.contains("looking at "), "{log}");
    assert!(job.batch(&["cancel", "job.toml", "--run-id", "r"]).await.status.success());
    // The shard sees it at its next heartbeat, and R's call ends in time.
    eventually("the end of taking partitions", || async {
        let status: Value = serde_json::from_str(&text(&job.batch(&["status", "job.toml", "--json"]).await)).unwrap();
        (status["shards"][0]["state"] == "draining").then_some(())
    })
    .await;
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(12), "{said}");
    assert!(
        said.lines().any(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["partitions"] == 2)),
        "{said}"
    );
}

#[tokio::test]
async fn failed_partitions_are_tried_again_when_asked_for() {
    let job = job(
        "score <- function(model, data) { if (file.exists('broken')) stop('broken'); data$x * 2 }",
        "[columns]\nx = \"double\"\n",
        3,
        4,
    );
    let script = job.read("model/1/score.R");
    let flag = job.path("broken");
    // A bundle is frozen; what it looks at outside of itself is not.
    job.write("model/1/score.R", &script.replace("'broken')", &format!("'{}')", flag.display())));
    job.write("broken", "");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 11, "{said}");
    let report = job.batch(&["report", "job.toml"]).await;
    assert_eq!(report.status.code(), Some(11));
    std::fs::remove_file(flag).unwrap();
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 11, "a deterministic error is not tried again by itself: {said}");
    let retried = text(&job.batch(&["retry", "job.toml"]).await);
    assert!(retried.contains("3 partitions are tried again"), "{retried}");
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 0, "{said}");
    for partition in 0..3 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 4));
    }
    let report: Value = serde_json::from_slice(&job.batch(&["report", "job.toml", "--json"]).await.stdout).unwrap();
    assert_eq!((&report["partitions"]["scored"], &report["rows"]["written"]), (&3.into(), &12.into()));
    // A process that died between the report and the mark.
    std::fs::remove_file(job.state("r", "_SUCCESS")).unwrap();
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(job.state("r", "_SUCCESS").exists());
}

#[tokio::test]
async fn what_has_not_changed_is_taken_over_from_an_earlier_run() {
    let job = job("score <- function(model, data) data$x * 2", X, 3, 4);
    let text = job.read("job.toml").replace("out/{p}", "out/{run}-{p}");
    job.describe(&text);
    assert_eq!(job.run(&["--run-id", "a"]).await.0, 0);
    job.write("in/1.csv", "x\n5\n");
    let (code, said) = job.run(&["--run-id", "b", "--reuse", "a"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("reused      2 partitions"), "{said}");
    assert_eq!(job.read("out/b-0.csv"), doubled(0, 4));
    assert_eq!(job.read("out/b-1.csv"), "x,prediction\n5.0,10.0\n");
    // Another model is another result.
    job.write("model/1/score.R", "load <- function(dir) list()\nscore <- function(model, data) data$x * 3");
    let (code, said) = job.run(&["--run-id", "c", "--reuse", "b"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("reused"), "{said}");
    assert_eq!(job.read("out/c-1.csv"), "x,prediction\n5.0,15.0\n");
}

#[tokio::test]
async fn random_numbers_follow_from_seed_and_partition() {
    let script = "score <- function(model, data) data$x + rnorm(nrow(data)) + sample(nrow(data))";
    let job = job(script, "[columns]\nx = \"double\"\n", 4, 5);
    let mut outputs = Vec::new();
    for (run, seed, workers) in [("a", 1, "1"), ("b", 1, "2"), ("c", 2, "1")] {
        describe(&job, &format!("[run]\nseed = {seed}\n"));
        let ran = job.batch(&["run", "job.toml", "--run-id", run, "--workers", workers]).await;
        assert!(ran.status.success(), "{}", text(&ran));
        outputs.push(job.files("out"));
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_ne!(outputs[0], outputs[2]);
    assert_ne!(outputs[0]["0.csv"].len(), 0);
}
