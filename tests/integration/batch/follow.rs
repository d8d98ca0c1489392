//! A run that is followed from another machine: all that is known there is where it is.

use super::{UNTRIED, job};
use crate::support::emulators::Bucket;
use crate::support::gate::Gate;
use crate::support::job::Job;

#[tokio::test]
async fn status_and_logs_are_followed_until_the_run_is_over() {
    let bucket = Bucket::azure().await;
    let url = &bucket.url;
    let mut gate = Gate::new();
    let script = format!(
        "{}score <- function(model, data) {{ message('before'); gate(); message('after'); data$x * 2 }}",
        gate.script()
    );
    let job = job(&script, UNTRIED, 1, 3).environment(&bucket.variables);
    job.describe(&format!(
        "model = \"model/1\"\noutput = \"{url}/out/{{p}}.csv\"\n[inputs]\ndata = \"in/{{p:int}}.csv\"\n"
    ));
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    let elsewhere = Job::new().environment(&bucket.variables);
    let run = format!("{url}/out/_rscore/runs/r");
    let mut status = elsewhere.begin(&["status", &run, "--follow"]);
    let mut logs = elsewhere.begin(&["logs", &run, "--partition", "p=0", "--follow"]);
    let first = status.line().await;
    assert!(first.starts_with("run r: open, 0 of 1 partitions settled"), "{first}");
    let attempt = logs.line().await;
    assert!(attempt.starts_with("partition p=0, attempt "), "{attempt}");
    assert_eq!(logs.line().await, "before\n");
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = status.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let last = said.lines().rfind(|line| line.starts_with("run r: ")).expect("another look");
    assert!(last.starts_with("run r: succeeded, 1 of 1 partitions settled"), "{said}");
    // Each line once, although the log was written anew.
    assert_eq!(logs.ended().await, (Some(0), "after\n".to_owned()));
}
