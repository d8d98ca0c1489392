//! The process that holds the model and forks its workers dies, hangs, or can't
//! be started again.

use std::time::Duration;

use rustix::process::Signal;

use super::{counted, workers_without};
use crate::support::client::Request;
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::processes::{self, send_signal};
use crate::support::program::Program;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

/// How long a zygote may take; a healthy one must not, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(2);

const DOUBLES: &str = "score <- function(model, data) 2 * data$x";

async fn answers(endpoint: &Endpoint, model: &str) {
    assert_eq!(endpoint.send(Request::predict(model, r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
}

async fn another_zygote(server: &TestServer, model: &str, than: u32) -> u32 {
    eventually("another zygote", || async { server.zygote(model).filter(|zygote| *zygote != than) }).await
}

#[tokio::test]
async fn workers_outlive_their_zygote_and_another_one_takes_over() {
    let model = "orphaned";
    let server = Setup::new().workers(2).script(model, DOUBLES).start().await;
    let first = server.zygote(model).expect("a zygote");
    let workers: Vec<u32> = server.workers(model).iter().map(|worker| worker.id).collect();
    send_signal(first, Signal::KILL);
    answers(&server, model).await;

    let second = another_zygote(&server, model, first).await;
    answers(&server, model).await;
    let after: Vec<u32> = workers_without(&server, model, 2, &[]).await.iter().map(|worker| worker.id).collect();
    assert_eq!(after, workers, "workers don't go with their zygote");
    counted(&server, "rscore_zygote_deaths_total", model, "crashed", 1.0).await;

    // A worker of the first zygote dies while nobody asks for it; the second one
    // forks its replacement.
    send_signal(workers[0], Signal::KILL);
    let replaced = workers_without(&server, model, 2, &workers[..1]).await;
    assert!(replaced.iter().any(|worker| worker.parent == second), "{replaced:?}");
    counted(&server, "rscore_worker_deaths_total", model, "crashed", 1.0).await;

    // And a worker of the second.
    let victim = replaced.iter().find(|worker| worker.parent == second).expect("just found").id;
    send_signal(victim, Signal::KILL);
    let replaced = workers_without(&server, model, 2, &[victim]).await;
    assert!(replaced.iter().any(|worker| worker.parent == second), "{replaced:?}");
    answers(&server, model).await;
}

#[tokio::test]
async fn a_zygote_that_hangs_is_noticed_before_it_is_needed() {
    let model = "stopped_zygote";
    let server = Setup::new()
        .script(model, DOUBLES)
        .settings(|settings| settings.workers.zygote_timeout = PATIENCE)
        .start()
        .await;
    let first = server.zygote(model).expect("a zygote");
    let workers = server.workers(model);
    send_signal(first, Signal::STOP);
    // No worker dies, so that nothing but the ping can find out.
    another_zygote(&server, model, first).await;
    counted(&server, "rscore_zygote_deaths_total", model, "hung", 1.0).await;
    let kept = workers_without(&server, model, 1, &[]).await;
    assert_eq!(kept[0].id, workers[0].id, "its worker goes on");
    answers(&server, model).await;
}

#[tokio::test]
async fn a_zygote_that_hangs_when_it_is_needed_is_replaced_and_its_workers_too() {
    let model = "stopped_in_need";
    let server = Setup::new()
        .workers(2)
        .script(model, DOUBLES)
        .settings(|settings| settings.workers.zygote_timeout = PATIENCE)
        .start()
        .await;
    let first = server.zygote(model).expect("a zygote");
    let victim = server.workers(model)[0].id;
    send_signal(first, Signal::STOP);
    send_signal(victim, Signal::KILL);
    answers(&server, model).await;
    another_zygote(&server, model, first).await;
    workers_without(&server, model, 2, &[victim]).await;
    answers(&server, model).await;
}

#[tokio::test]
async fn a_model_that_can_not_be_started_again_opens_a_breaker_that_closes_by_itself() {
    let model = "breaks";
    let server = Setup::new().script(model, DOUBLES).start().await;
    let script = server.repository.version(model, 1).join("score.R");
    let good = std::fs::read(&script).unwrap();
    std::fs::write(&script, "stop('a library is gone')").unwrap();
    send_signal(server.zygote(model).expect("a zygote"), Signal::KILL);
    let gauge = |name: &'static str| {
        let server = &server;
        async move { server.metrics().await.sum(name, &[("model", model)]) }
    };
    eventually("an open breaker", || async { (gauge("rscore_zygote_breaker_open").await == 1.0).then_some(()) }).await;
    assert_eq!(gauge("rscore_zygote_up").await, 0.0);
    assert!(gauge("rscore_zygote_start_failures_total").await >= 4.0);
    // Its worker still serves, and the server is ready as long as one does.
    answers(&server, model).await;
    assert_eq!(server.operator("/readyz").await.status, 200);

    // The kernel tells the server of this one only by its closed socket or its parent.
    let last = server.workers(model)[0].id;
    send_signal(last, Signal::KILL);
    let ready = eventually("unreadiness", || async {
        let reply = server.operator("/readyz").await;
        (reply.status == 503).then(|| reply.json())
    })
    .await;
    let reason = ready["models"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("a library is gone"), "{ready}");
    // Refused at once, not at the deadline.
    let refused = server.send(Request::predict(model, r#"[{"x": 21}]"#)).await;
    refused.is_problem(503, "unavailable");

    std::fs::write(&script, good).unwrap();
    eventually("readiness", || async { (server.operator("/readyz").await.status == 200).then_some(()) }).await;
    answers(&server, model).await;
    assert_eq!(gauge("rscore_zygote_breaker_open").await, 0.0);
    assert_eq!(gauge("rscore_zygote_up").await, 1.0);
}

/// What model code started runs in the same folder and may have any parent.
fn zygote_and_workers(program: &Program, model: &str) -> Option<(u32, Vec<u32>)> {
    let mut all = program.processes();
    all.retain(|process| process.serves(model) && processes::command(process.id) == "rscore");
    let zygote = all
        .iter()
        .find(|process| process.parent == program.id() && all.iter().any(|child| child.parent == process.id))?;
    Some((zygote.id, all.iter().filter(|process| process.parent == zygote.id).map(|process| process.id).collect()))
}

#[tokio::test]
async fn the_program_adopts_orphans_and_leaves_no_zombie() {
    let model = "adopted";
    let script = "score <- function(model, data) {\n  \
                    if (data$x < 0) system('sleep 300 & setsid sleep 300 & setsid true &')\n  \
                    2 * data$x\n}";
    let program = Setup::new().workers(2).script(model, script).run().await;
    let server = program.id();
    program.send(Request::predict(model, r#"[{"x": -1}]"#)).await.predictions();
    let (zygote, workers) = zygote_and_workers(&program, model).expect("a zygote");
    assert_eq!(workers.len(), 2);

    send_signal(zygote, Signal::KILL);
    eventually("adoption", || async {
        let all = program.processes();
        workers.iter().all(|id| all.iter().any(|process| process.id == *id && process.parent == server)).then_some(())
    })
    .await;
    for worker in &workers {
        send_signal(*worker, Signal::KILL);
    }
    eventually("new workers", || async {
        zygote_and_workers(&program, model).filter(|(_, workers)| workers.len() == 2)
    })
    .await;
    answers(&program, model).await;
    // A daemon of its own, which left its worker's process group, is all that is left.
    let daemons = eventually("the end of what the workers started", || async {
        let daemons: Vec<u32> =
            processes::children(server).into_iter().filter(|id| processes::command(*id) == "sleep").collect();
        (daemons.len() == 1).then_some(daemons)
    })
    .await;
    send_signal(daemons[0], Signal::KILL);
    eventually("no zombie", || async {
        let children = processes::children(server);
        (children.len() == 1 && processes::runs(children[0])).then_some(())
    })
    .await;
}
