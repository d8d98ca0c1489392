//! Several processes on one run, and what becomes of it when they die, stand
//! still, or are the same one twice.

use rustix::process::Signal;
use serde_json::Value;

use super::{UNTRIED, X, describe, doubled, job};
use crate::support::eventually;
use crate::support::gate::Gate;

const QUICK: &str = "[limits]\nshard_timeout = \"1s\"\n";

#[tokio::test]
async fn a_killed_shard_is_gone_on_with() {
    let mut gate = Gate::new();
    let script =
        format!("{}score <- function(model, data) {{ if (data$x[1] == 3000) gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 6, 5);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::KILL);
    let (code, _) = shard.ended().await;
    assert_eq!(code, None);
    // Without being told so, nobody goes on with a run.
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 10, "{said}");
    let resumed = job.start(&["--run-id", "r", "--resume"]);
    gate.begun().await;
    gate.open().await;
    let (code, said) = resumed.ended().await;
    assert_eq!(code, Some(0), "{said}");
    for partition in 0..6 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 5));
    }
    assert!(said.contains("30 read = 30 written"), "{said}");
}

#[tokio::test]
async fn a_shard_that_stood_still_publishes_nothing() {
    let mut gate = Gate::new();
    // Whoever scores leaves its mark.
    let script = format!("{}score <- function(model, data) {{ gate(); rep(Sys.getpid(), nrow(data)) }}", gate.script());
    let job = job(&script, UNTRIED, 1, 3);
    describe(&job, QUICK);
    let still = job.start(&["--run-id", "r", "--shard", "0/2"]);
    let first = gate.begun().await;
    still.signal(Signal::STOP);
    let other = job.start(&["--run-id", "r", "--shard", "1/2"]);
    let second = gate.begun().await;
    assert_ne!(first, second);
    // Both workers wait, and either may go on first; the first one's shard stands still.
    gate.open().await;
    gate.open().await;
    let (code, said) = other.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let published = job.read("out/0.csv");
    assert!(published.contains(&format!(",{second}\n")), "{published}");
    still.signal(Signal::CONT);
    let (code, said) = still.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(job.read("out/0.csv"), published);
    assert_eq!(job.outcome("r", "p=0")["shard"], "1");
    assert!(said.contains("1 attempts were not needed"), "{said}");
}

#[tokio::test]
async fn two_processes_with_one_id_make_one_run() {
    let job = job("score <- function(model, data) { Sys.sleep(0.02); data$x * 2 }", X, 12, 5);
    describe(&job, QUICK);
    let both = [job.start(&["--run-id", "r", "--resume"]), job.start(&["--run-id", "r", "--resume"])];
    for shard in both {
        let (code, said) = shard.ended().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("60 read = 60 written"), "{said}");
    }
    for partition in 0..12 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 5));
    }
}

#[tokio::test]
async fn shards_of_an_engine_share_a_run() {
    let script = "score <- function(model, data) data$x * 2";
    let job = job(script, X, 8, 5).environment(&[
        ("SLURM_ARRAY_TASK_COUNT".to_owned(), "2".to_owned()),
        ("SLURM_ARRAY_JOB_ID".to_owned(), "77".to_owned()),
        ("SLURM_ARRAY_TASK_MIN".to_owned(), "0".to_owned()),
        ("SLURM_ARRAY_TASK_ID".to_owned(), "1".to_owned()),
    ]);
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("run slurm-77: complete"), "{said}");
    assert!(job.state("slurm-77", "shards/1.json").exists());
}

#[tokio::test]
async fn one_file_is_cut_at_rows_and_at_groups() {
    let job = job("score <- function(model, data) data$x - mean(data$x)", "[columns]\nx = \"double\"\n", 1, 1);
    job.write("big.csv", "g,x\na,1\na,3\n\"b\nb\",5\nc,7\nc,8\nc,9\n");
    let text = |split: &str| {
        format!(
            "model = \"model/1\"\noutput = \"out/big.csv\"\nkeep = [\"g\"]\n[inputs]\ndata = \"big.csv\"\n\
             [partition]\nsplit = \"{split}\"\n"
        )
    };
    job.describe(&text("group_by:g"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    let parts: String =
        job.files("out").values().map(|part| part.strip_prefix("g,prediction\n").unwrap().to_owned()).collect();
    assert_eq!(parts, "a,-1.0\na,1.0\n\"b\nb\",0.0\nc,-1.0\nc,0.0\nc,1.0\n");
    job.describe(&text("rows:4").replace("out/", "cut/"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(job.files("cut").keys().map(String::as_str).collect::<Vec<_>>(), ["big-000000.csv", "big-000001.csv"]);
}

#[tokio::test]
async fn what_a_killed_process_left_beside_an_output_is_removed_in_the_end() {
    let mut gate = Gate::new();
    let script =
        format!("{}score <- function(model, data) {{ if (data$x[1] == 1000) gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 2, 5);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    shard.signal(Signal::KILL);
    shard.ended().await;
    // Names that the store's client gives to what it has not finished: src/store/leftovers.rs.
    for path in ["out/0.csv#1", "out/1.csv#12", "out/other.csv#1"] {
        job.write(path, "x,predi");
    }
    let resumed = job.start(&["--run-id", "r", "--resume"]);
    gate.begun().await;
    gate.open().await;
    let (code, said) = resumed.ended().await;
    assert_eq!(code, Some(0), "{said}");
    // What is not the run's stays.
    assert_eq!(job.files("out").keys().map(String::as_str).collect::<Vec<_>>(), ["0.csv", "1.csv", "other.csv#1"]);
    for partition in 0..2 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 5));
    }
    // And it is nobody's input.
    job.describe("model = \"model/1\"\noutput = \"next/{p}.csv\"\n[inputs]\ndata = \"out/{p}.csv\"\n");
    let planned = job.batch(&["plan", "job.toml"]).await;
    let text = String::from_utf8_lossy(&planned.stdout);
    assert!(text.starts_with("2 partitions") && !text.contains('#'), "{text}");
}

#[tokio::test]
async fn a_complete_run_is_left_as_it_is_without_loading_the_model() {
    let mut gate = Gate::new();
    let job = job("", UNTRIED, 2, 5);
    let script = format!("{}load <- function(dir) gate()\nscore <- function(model, data) data$x * 2", gate.script());
    job.write("model/1/score.R", &script);
    let shard = job.start(&["--run-id", "r"]);
    gate.begun().await;
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "{said}");
    // Somebody's own change; the report is made again from the outcomes.
    job.write("out/0.csv", "changed");
    std::fs::remove_file(job.state("r", "report.json")).unwrap();
    // With the gate shut, loading would never end.
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("10 read = 10 written"), "{said}");
    assert_eq!(job.read("out/0.csv"), "changed");
}

#[tokio::test]
async fn what_a_living_shard_has_claimed_is_left_to_it() {
    let mut gate = Gate::new();
    let script = format!("{}score <- function(model, data) {{ gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 1, 5);
    describe(&job, "[limits]\nshard_timeout = \"5s\"\n");
    let first = job.start(&["--run-id", "r", "--shard", "0/2"]);
    gate.begun().await;
    let second = job.start(&["--run-id", "r", "--shard", "1/2"]);
    // It beats while it works, and has looked for something to do long before its third beat.
    eventually("beats of the second shard", || async {
        let beat: Value = serde_json::from_slice(&std::fs::read(job.state("r", "shards/1.json")).ok()?).ok()?;
        (beat["beat"].as_u64() >= Some(3)).then_some(())
    })
    .await;
    // One call goes on, and there is no other.
    gate.open().await;
    for shard in [first, second] {
        let (code, said) = shard.ended().await;
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(job.outcome("r", "p=0")["shard"], "0");
}
