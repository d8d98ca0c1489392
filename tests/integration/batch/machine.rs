//! Trouble of the machine: nothing of it is a partition's failure, and a process
//! that meets it is to be run again.

use super::{UNTRIED, X, doubled, job};
use crate::support::gate::Gate;

#[tokio::test]
async fn a_folder_that_is_gone_is_no_failure_of_a_partition() {
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 2, 3);
    let folder = job.path("tmp");
    std::fs::create_dir(&folder).unwrap();
    let job = job.environment(&[("TMPDIR".to_owned(), folder.to_str().unwrap().to_owned())]);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("rscore-batch-") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    gate.open().await;
    // The next partition finds no file to print into, and is tried five times.
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("can't write its output"), "{said}");
    let settled = std::fs::read_dir(job.state("r", "commits/0")).unwrap().count();
    assert_eq!(settled, 1);
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
async fn a_model_whose_process_is_killed_may_load_another_time() {
    let job = job("score <- function(model, data) data$x * 2", UNTRIED, 1, 3);
    let script = |load: &str| format!("load <- function(dir) {load}\nscore <- function(model, data) data$x * 2");
    for (load, expected) in [("tools::pskill(Sys.getpid(), 9L)", 75), ("stop('no such table')", 10)] {
        job.write("model/1/score.R", &script(load));
        let (code, said) = job.run(&[]).await;
        assert_eq!(code, expected, "{said}");
    }
}

#[tokio::test]
async fn a_machine_without_a_temporary_folder_is_another_ones_chance() {
    let job = job("score <- function(model, data) data$x * 2", X, 1, 3);
    let job = job.environment(&[("TMPDIR".to_owned(), "/nowhere/at/all".to_owned())]);
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("no temporary folder"), "{said}");
}
