//! Calls that take all the memory they can get, and models that leak: one
//! request fails, or one worker is replaced.

use std::fs;

use super::{counted, workers_without};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::group::Group;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

const MEGABYTE: usize = 1024 * 1024;

const SCRIPT: &str = r#"
kept <- list()
score <- function(model, data) {
  switch(data$what[1L],
    at_once = numeric(2^31),
    piece_by_piece = { pieces <- list(); repeat pieces[[length(pieces) + 1L]] <- rep(1, 1e6) },
    leaks = kept[[length(kept) + 1L]] <<- rep(1, 5e6)
  )
  2 * data$x
}
"#;

const MANIFEST: &str = "warm_up = false\n[columns]\nwhat = \"character\"\nx = \"double\"\n";

fn request(model: &str, what: &str) -> Request {
    Request::predict(model, format!(r#"[{{"what": "{what}", "x": 21}}]"#))
}

fn setup(model: &str) -> Setup {
    Setup::new().script(model, SCRIPT).file(model, "rscore.toml", MANIFEST)
}

async fn answers(server: &TestServer, model: &str) {
    assert_eq!(server.send(request(model, "doubles")).await.predictions(), [42.0]);
}

#[tokio::test]
async fn an_allocation_storm_is_the_error_of_its_own_request() {
    let model = "storms";
    let server = setup(model).settings(|settings| settings.workers.max_growth_bytes = 200 * MEGABYTE).start().await;
    for (round, what) in ["at_once", "piece_by_piece"].into_iter().enumerate() {
        let worker = server.workers(model)[0].id;
        let problem = server.send(request(model, what)).await.is_problem(500, "model-error");
        let message = problem["condition"]["message"].as_str().unwrap();
        assert!(message.contains("cannot allocate"), "{message}");
        workers_without(&server, model, 1, &[worker]).await;
        counted(&server, "rscore_worker_deaths_total", model, "retired", (round + 1) as f64).await;
        answers(&server, model).await;
    }
}

#[tokio::test]
async fn a_model_that_leaks_is_replaced_before_it_hurts() {
    let model = "leaks";
    let server = setup(model).settings(|settings| settings.workers.max_rss_bytes = 250 * MEGABYTE).start().await;
    let first = server.workers(model)[0].id;
    let mut calls = 0;
    // 40 MB each: about four fit.
    while server.workers(model).iter().any(|worker| worker.id == first) {
        assert_eq!(server.send(request(model, "leaks")).await.predictions(), [42.0]);
        calls += 1;
        assert!(calls < 1000, "it grew to {} MB", calls * 40);
    }
    counted(&server, "rscore_worker_deaths_total", model, "memory", 1.0).await;
    answers(&server, model).await;
}

#[tokio::test]
async fn the_kernel_would_rather_end_a_worker_than_the_server() {
    let model = "volunteers";
    let server = setup(model).start().await;
    let score = |process: u32| -> i32 {
        fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    let own = score(std::process::id());
    assert_eq!(score(server.zygote(model).unwrap()), own);
    // It sets the score itself, a moment after it was forked.
    let worker = server.workers(model)[0].id;
    let volunteers = || async { (score(worker) == (own + 500).min(1000)).then_some(()) };
    eventually("a worker that volunteers", volunteers).await;
}

#[tokio::test]
async fn under_a_real_control_group_workers_follow_its_limits_and_a_storm_stays_a_request() {
    let model = "contained";
    let limit = (700 * MEGABYTE).to_string();
    let memory = Group::new("memory", &[("memory.limit_in_bytes", &limit)]);
    let cpu = Group::new("cpu", &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "200000")]);
    let (Some(memory), Some(cpu)) = (memory, cpu) else {
        // The same on trees of files: src/cgroup/tests.rs.
        println!("this machine lets no control group be made");
        return;
    };
    let program = setup(model).workers(0).groups([&memory, &cpu]).run().await;
    let line = program
        .logged("the size of the pool", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("memory allows"))
        })
        .await;
    let text = line["message"].as_str().unwrap();
    let (workers, cores) = (
        program.metrics().await.sum("rscore_workers", &[("model", model)]),
        std::thread::available_parallelism().unwrap().get(),
    );
    let why = if cores >= 2 { "2 cores by cgroup cpu.cfs_quota_us" } else { "1 cores" };
    assert!(text.starts_with(&format!("{workers} workers: {why}, memory allows ")), "{text}");

    let before: Vec<u32> = program.processes().iter().map(|process| process.id).collect();
    for what in ["at_once", "piece_by_piece"] {
        program.send(request(model, what)).await.is_problem(500, "model-error");
        assert_eq!(program.send(request(model, "doubles")).await.predictions(), [42.0]);
    }
    assert!(before.contains(&program.id()) && program.processes().iter().any(|process| process.id == program.id()));
}
