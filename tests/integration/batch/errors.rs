//! Bad rows, bad partitions, bad jobs: what is set aside, what fails, and what
//! the exit code says.

use serde_json::Value;

use super::{UNTRIED, X, describe, doubled, job};
use crate::support::gate::Gate;

#[tokio::test]
async fn one_bad_row_is_set_aside_with_its_reason_and_can_be_an_input_again() {
    let job =
        job("score <- function(model, data) { if (any(data$x == 1002)) stop('not this one'); data$x * 2 }", X, 3, 64);
    describe(&job, "[errors]\nmax_row_error_rate = 0.02\n");
    let mut text = job.read("in/2.csv");
    text = text.replace("2007\n", "\"two thousand\nand seven\"\n");
    job.write("in/2.csv", &text);
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("192 read = 190 written + 2 quarantined + 0 in failed partitions"), "{said}");
    // The row that R refuses is found among 64, and the others are scored.
    let expected = doubled(1, 64).replace("1002.0,2004.0\n", "");
    assert_eq!(job.read("out/1.csv"), expected);
    let reasons = std::fs::read_to_string(job.state("r", "quarantine/p=1.reasons.jsonl")).unwrap();
    let reason: Value = serde_json::from_str(&reasons).unwrap();
    assert_eq!((&reason["row"], &reason["stage"], &reason["raw"]), (&2.into(), &"score".into(), &"1002".into()));
    assert_eq!((&reason["message"], &reason["call"]), (&"not this one".into(), &"score(model, data)".into()));
    // The row that can't be read keeps its bytes, the line break too.
    let reasons = std::fs::read_to_string(job.state("r", "quarantine/p=2.reasons.jsonl")).unwrap();
    let reason: Value = serde_json::from_str(&reasons).unwrap();
    assert_eq!((&reason["row"], &reason["stage"]), (&7.into(), &"parse".into()));
    assert_eq!(reason["raw"], "\"two thousand\nand seven\"");
    assert_eq!(reason["cells"][0]["column"], "x");
    let replay = std::fs::read_to_string(job.state("r", "quarantine/p=2.rows.csv")).unwrap();
    assert_eq!(replay, "x\n\"two thousand\nand seven\"\n");
}

#[tokio::test]
async fn rows_that_are_all_bad_are_over_the_threshold() {
    let job = job("score <- function(model, data) { if (any(data$x >= 1000)) stop('never'); data$x }", X, 2, 20);
    std::fs::remove_file(job.path("in/0.csv")).unwrap();
    describe(&job, "[errors]\nmax_row_error_rate = 0.5\n");
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("20 read = 0 written + 20 quarantined"), "{said}");
    assert_eq!(job.read("out/1.csv"), "x,prediction\n");
    assert!(!job.exists("out/_rscore/runs/_SUCCESS"));
}

#[tokio::test]
async fn rows_of_which_none_can_be_read_are_all_set_aside() {
    let job = job("score <- function(model, data) data$x", X, 1, 1);
    job.write("in/0.csv", &format!("x\n{}", "none\n".repeat(20)));
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("20 read = 0 written + 20 quarantined"), "{said}");
    let rows = std::fs::read_to_string(job.state("r", "quarantine/p=0.rows.csv")).unwrap();
    assert_eq!(rows, job.read("in/0.csv"));
}

#[tokio::test]
async fn a_partition_of_rows_that_depend_on_each_other_fails_as_a_whole() {
    let manifest = "[columns]\nx = \"double\"\n";
    let job = job("score <- function(model, data) { if (any(data$x == 1003)) stop('no'); data$x * 2 }", manifest, 3, 8);
    job.write("in/2.csv", "x\n1\nnone\n");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("18 read = 8 written + 0 quarantined + 10 in failed partitions"), "{said}");
    assert_eq!(job.outcome("r", "p=1")["result"]["failure"]["cause"], "r_error");
    assert_eq!(job.outcome("r", "p=2")["result"]["failure"]["cause"], "bad_rows");
    assert!(!job.exists("out/1.csv") && !job.exists("out/2.csv"));
    assert_eq!(job.read("out/0.csv"), doubled(0, 8));
}

#[tokio::test]
async fn a_group_that_raises_an_error_is_set_aside_when_the_bundle_allows_it() {
    let script = "score <- function(model, data) {
        means <- ave(data$x, data$g)
        if (any(means == 5)) stop('a group with a mean of five')
        data$x - means
    }";
    let manifest = "independent_by = [\"g\"]\n[columns]\ng = \"character\"\nx = \"double\"\n";
    let job = job(script, manifest, 1, 1);
    job.write("in/0.csv", "g,x\na,1\nb,4\nc,7\na,3\nb,6\nc,9\n");
    describe(&job, "[errors]\nmax_row_error_rate = 0.4\n");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(job.read("out/0.csv"), "x,prediction\n1.0,-1.0\n7.0,-1.0\n3.0,1.0\n9.0,1.0\n");
    assert!(said.contains("6 read = 4 written + 2 quarantined"), "{said}");
    let rows = std::fs::read_to_string(job.state("r", "quarantine/p=0.rows.csv")).unwrap();
    assert_eq!(rows, "g,x\nb,4\nb,6\n");
}

#[tokio::test]
async fn endless_and_deadly_partitions_fail_alone() {
    let script = "score <- function(model, data) {
        if (data$x[1] == 1000) repeat {}
        if (data$x[1] == 2000) tools::pskill(Sys.getpid(), 9L)
        data$x * 2
    }";
    let job = job(script, X, 4, 4);
    describe(&job, "[errors]\nmax_failed_partitions = 2\n[limits]\npartition_timeout = \"300ms\"\n");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(job.outcome("r", "p=1")["result"]["failure"]["cause"], "timeout");
    let crashed = job.outcome("r", "p=2");
    assert_eq!((&crashed["result"]["failure"]["cause"], &crashed["tries"]), (&"crash".into(), &2.into()));
    assert_eq!(job.read("out/3.csv"), doubled(3, 4));
}

#[tokio::test]
async fn an_input_that_is_replaced_during_the_run_is_an_error() {
    let mut gate = Gate::new();
    let script =
        format!("{}score <- function(model, data) {{ if (data$x[1] == 0) gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 6, 4);
    // The largest goes first.
    job.write("in/0.csv", "x\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n");
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    // One worker has three partitions at hand; the last ones are none of them.
    job.write("in/4.csv", "x\n1\n2\n3\n4\n");
    let other = job.read("in/5.csv").replace("5000", "6000");
    job.write("in/5.csv", &other);
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(11), "{said}");
    for partition in [4, 5] {
        let failure = &job.outcome("r", &format!("p={partition}"))["result"]["failure"];
        assert_eq!(failure["cause"], "input_changed", "{failure}");
        assert!(!job.exists(&format!("out/{partition}.csv")));
    }
    assert_eq!(job.read("out/1.csv"), doubled(1, 4));
}

#[tokio::test]
async fn jobs_that_can_not_be_done_are_refused_at_once() {
    let job = job("score <- function(model, data) data$x * 2", X, 1, 4);
    job.write("more/1.csv", "x\n1\n");
    for (text, part) in [
        ("modle = 1", "did you mean 'model'"),
        ("model = \"nowhere\"\noutput = \"out/{p}.csv\"\n[inputs]\ndata = \"in/{p}.csv\"", "nowhere"),
        ("model = \"model/1\"\noutput = \"out/{p}.csv\"\n[inputs]\ndata = \"none/{p}.csv\"", "nothing matches"),
        (
            "model = \"model/1\"\noutput = \"out/{p}.csv\"\n[inputs]\nother = \"in/{p}.csv\"",
            "the model has no such input",
        ),
        (
            "model = \"model/1\"\noutput = \"out/{p}.csv\"\n[inputs]\ndata = \"in/{p}.csv\"\nmore = \"more/{p}.csv\"",
            "p=0 is missing in more",
        ),
    ] {
        job.describe(text);
        let (code, said) = job.run(&[]).await;
        assert_eq!(code, 10, "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn rows_that_are_lost_are_told_even_where_the_sums_are_right() {
    let job = job("score <- function(model, data) data$x", X, 2, 10);
    assert_eq!(job.run(&["--run-id", "r"]).await.0, 0);
    for (partition, written) in [("p=0", 9), ("p=1", 11)] {
        let mut outcome = job.outcome("r", partition);
        outcome["rows"]["written"] = written.into();
        std::fs::write(job.state("r", &format!("commits/0/{partition}.json")), outcome.to_string()).unwrap();
    }
    for file in ["report.json", "_SUCCESS"] {
        std::fs::remove_file(job.state("r", file)).unwrap();
    }
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("20 read = 20 written") && said.contains("ROWS ARE LOST"), "{said}");
    assert!(!job.state("r", "_SUCCESS").exists());
}
