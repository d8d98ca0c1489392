//! The process that holds the model and forks its workers dies.

use rustix::process::Signal;

use super::workers_without;
use crate::support::client::Request;
use crate::support::processes::send_signal;
use crate::support::setup::Setup;
use crate::support::{eventually, server::TestServer};

const MODEL: &str = "orphaned";

async fn answers(server: &TestServer) {
    assert_eq!(server.send(Request::predict(MODEL, r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
}

#[tokio::test]
async fn workers_outlive_their_zygote_and_another_one_takes_over() {
    let script = "score <- function(model, data) 2 * data$x";
    let server = Setup::new().workers(2).script(MODEL, script).start().await;
    let first = server.zygote(MODEL).expect("a zygote");
    let workers: Vec<u32> = server.workers(MODEL).iter().map(|worker| worker.id).collect();
    send_signal(first, Signal::KILL);
    answers(&server).await;

    let second =
        eventually("another zygote", || async { server.zygote(MODEL).filter(|zygote| *zygote != first) }).await;
    answers(&server).await;
    let after: Vec<u32> = workers_without(&server, MODEL, 2, &[]).await.iter().map(|worker| worker.id).collect();
    assert_eq!(after, workers, "workers don't go with their zygote");

    // A worker of the first zygote dies; the second one forks its replacement.
    send_signal(workers[0], Signal::KILL);
    // Nobody reports its death: the requests find out.
    workers_without(&server, MODEL, 1, &workers[..1]).await;
    for _ in 0..4 {
        answers(&server).await;
    }
    let replaced = workers_without(&server, MODEL, 2, &workers[..1]).await;
    assert!(replaced.iter().any(|worker| worker.parent == second), "{replaced:?}");

    // And a worker of the second.
    let victim = replaced.iter().find(|worker| worker.parent == second).expect("just found").id;
    send_signal(victim, Signal::KILL);
    let replaced = workers_without(&server, MODEL, 2, &[victim]).await;
    assert!(replaced.iter().any(|worker| worker.parent == second), "{replaced:?}");
    answers(&server).await;
}
