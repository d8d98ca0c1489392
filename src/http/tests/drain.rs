//! Stopping: fast when idle, lossless when not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::harness::{Client, Request, Scripted, Setup, TestServer, doubled, scored, signalled};
use crate::lifecycle::{Drained, Phase};

const ROWS: &str = "[{\"x\": 1}]";

/// A model that answers when the gate lets it; says when a request arrived.
fn gated() -> (Arc<Semaphore>, Arc<Semaphore>, Arc<Scripted>) {
    let (arrived, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handles = (Arc::clone(&arrived), Arc::clone(&gate));
    let scripted = Scripted::new(move |request| {
        let (arrived, gate) = (Arc::clone(&arrived), Arc::clone(&gate));
        async move {
            arrived.add_permits(1);
            gate.acquire().await.expect("open").forget();
            Ok(doubled(&request))
        }
    });
    (handles.0, handles.1, scripted)
}

async fn draining(server: &TestServer) {
    let mut phases = server.lifecycle.subscribe();
    phases.wait_for(|phase| *phase >= Phase::Draining).await.expect("the lifecycle lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_stops_at_once_and_closes_its_connections() {
    let mut server = Setup::new().start().await;
    let mut idle: Client = server.connect().await;
    assert_eq!(idle.send(Request::post("/models/double/predict", ROWS)).await.status, 200);
    let lifecycle = server.lifecycle.clone();
    let started = Instant::now();
    server.begin_stop();
    idle.closed().await;
    assert_eq!(server.stopped().await, Drained::Clean);
    assert_eq!(lifecycle.phase(), Phase::Stopped);
    // The server's own timers look once a second.
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_and_new_ones_are_refused() {
    let (arrived, gate, scripted) = gated();
    let mut server = Setup::new().model("gated", 1, scripted).start().await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    assert_eq!(idle.send(Request::post("/models/double/predict", ROWS)).await.status, 200);
    let answer = tokio::spawn(async move {
        let reply = busy.send(Request::post("/models/gated/predict", ROWS)).await;
        busy.closed().await;
        reply
    });
    signalled(&arrived).await;
    server.begin_stop();
    draining(&server).await;

    assert_eq!(server.operator("/livez").await.status, 200);
    assert_eq!(server.operator("/readyz").await.status, 503);
    for request in [Request::post("/models/double/predict", ROWS), Request::get("/models")] {
        let reply = server.send(request).await;
        reply.is_problem(503, "unavailable");
        assert_eq!((reply.header("retry-after"), reply.header("connection")), (Some("1"), Some("close")));
    }
    let reply = idle.send(Request::post("/models/double/predict", ROWS)).await;
    reply.is_problem(503, "unavailable");
    idle.closed().await;

    gate.add_permits(1);
    let reply = answer.await.expect("no panic");
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(reply.json()["predictions"][0], 2.0);
    assert_eq!(server.stopped().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_read_is_sent_to_its_end() {
    let many = Scripted::new(|_| async { Ok(scored((0..2_000_000).map(|row| Some(f64::from(row))).collect())) });
    let mut server = Setup::new().model("many", 1, many).start().await;
    let mut client = server.connect().await;
    let request = Request::post("/models/many/predict", ROWS);
    client.write(&request.head()).await;
    client.write(ROWS.as_bytes()).await;
    // The answer is longer than all buffers between us: it has only begun.
    let mut start = [0; 15];
    client.stream.read_exact(&mut start).await.expect("the start of the answer");
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    server.begin_stop();
    draining(&server).await;
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.expect("the rest of the answer");
    assert!(rest.ends_with(b",1999999.0]}"), "{}", String::from_utf8_lossy(&rest[rest.len().saturating_sub(40)..]));
    assert_eq!(server.stopped().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_has_a_limit() {
    let (arrived, _gate, scripted) = gated();
    let mut server = Setup::new()
        .model("gated", 1, scripted)
        .settings(|settings| settings.server.drain_timeout = Duration::from_millis(30))
        .start()
        .await;
    let mut client = server.connect().await;
    client.write(&Request::post("/models/gated/predict", ROWS).head()).await;
    client.write(ROWS.as_bytes()).await;
    signalled(&arrived).await;
    let started = Instant::now();
    server.begin_stop();
    assert_eq!(server.stopped().await, Drained::TimedOut { in_flight: 1 });
    assert!(started.elapsed() < Duration::from_secs(10));
}
