//! The processes behind a shard: what becomes of a run when its zygote is killed,
//! and what they may take within a control group.

use rustix::process::Signal;

use super::{UNTRIED, describe, doubled, job};
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::group::Group;
use crate::support::processes::{children, command, parent, runs, send_signal};

#[tokio::test]
async fn workers_of_a_killed_zygote_are_adopted_and_none_is_left() {
    let mut gate = Gate::new();
    let script =
        format!("{}score <- function(model, data) {{ if (data$x[1] == 1000) gate(); data$x * 2 }}", gate.script());
    let job = job(&script, UNTRIED, 4, 5);
    let shard = job.start(&["--run-id", "r"]);
    let worker = gate.begun().await;
    send_signal(parent(worker).expect("a zygote"), Signal::KILL);
    eventually("adoption", || async { (parent(worker) == Some(shard.id())).then_some(()) }).await;
    // Its partition is tried again, by a worker of a new zygote.
    send_signal(worker, Signal::KILL);
    let second = gate.begun().await;
    assert_ne!(second, worker);
    eventually("no zombie and nothing but a zygote", || async {
        let children = children(shard.id());
        (children.len() == 1 && runs(children[0]) && command(children[0]) == "rscore").then_some(())
    })
    .await;
    assert_eq!(parent(second), children(shard.id()).first().copied());
    gate.open().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("20 read = 20 written"), "{said}");
    assert_eq!(job.outcome("r", "p=1")["tries"], 2);
    for partition in 0..4 {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 5));
    }
}

#[tokio::test]
async fn a_control_group_bounds_the_workers_and_a_storm_costs_its_partition_alone() {
    let Some(memory) = Group::new("memory", &[("memory.limit_in_bytes", "700000000")]) else {
        // What is made of a limit: src/pool/sizing.rs.
        println!("this machine lets no control group be made");
        return;
    };
    let script = "score <- function(model, data) {
        pieces <- list()
        if (data$x[1] == 1000) repeat pieces[[length(pieces) + 1L]] <- rep(1, 1e6)
        data$x * 2
    }";
    let job = job(script, UNTRIED, 3, 5).within(&memory);
    describe(&job, "[errors]\nmax_failed_partitions = 1\n");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 workers: workers.count says so, memory allows "), "{said}");
    let failure = &job.outcome("r", "p=1")["result"]["failure"];
    assert_eq!(failure["cause"], "r_error", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("cannot allocate"), "{failure}");
    for partition in [0, 2] {
        assert_eq!(job.read(&format!("out/{partition}.csv")), doubled(partition, 5));
    }
}
