//! Callers that take their time: with the handshake, the head, or their answer.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::{MODEL, cut, rest, setup, witness};
use crate::support::client::{Connection, Request, read_reply};
use crate::support::endpoint::Endpoint;
use crate::support::setup::Setup;
use crate::support::{DEADLINE, within_deadline};

/// Rows of an answer that no buffer of the system takes whole.
const ROWS: usize = 500_000;

fn impatient(head: Duration, write: Duration) -> Setup {
    setup().settings(|settings| {
        settings.server.head_timeout = head;
        settings.server.write_timeout = write;
    })
}

/// Connections on which nothing is sent.
async fn stalled(server: &Endpoint) -> Vec<TcpStream> {
    let mut stalled = Vec::new();
    for _ in 0..600 {
        stalled.push(TcpStream::connect(server.callers).await.unwrap());
    }
    stalled
}

#[tokio::test]
async fn handshakes_that_stall_are_given_up_and_hold_up_nobody() {
    // None is given up while the witness waits, so it does not wait for that.
    let server = impatient(10 * DEADLINE, DEADLINE).run().await;
    let _stalled = stalled(&server).await;
    witness(&server).await;
    assert_eq!(server.metrics().await.sum("rscore_connections_cut_total", &[]), 0.0);

    let server = impatient(Duration::from_secs(1), DEADLINE).run().await;
    let stalled = stalled(&server).await;
    cut(&server, "handshake", 600.0).await;
    witness(&server).await;
    let mut byte = [0; 1];
    for mut stream in stalled {
        assert!(matches!(within_deadline("the end", stream.read(&mut byte)).await, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn every_head_has_a_time_limit_and_not_only_the_first() {
    let server = impatient(Duration::from_secs(1), Duration::from_secs(30)).run().await;
    let mut first = server.connect().await;
    first.write(b"POST /models/thirds/predict HTTP/1.1\r\nHost").await;
    let mut second = server.connect().await;
    let reply = second.send(&server.authorised(Request::predict(MODEL, r#"{"x": [1]}"#))).await;
    assert_eq!(reply.status, 200);
    second.write(b"POST /models/thirds/predict HTTP/1.1\r\nHo").await;
    witness(&server).await;
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 408"));
    assert_eq!(rest(&mut second).await, "", "there was an answer to half a head");
    cut(&server, "head", 1.0).await;
}

/// A connection with a small window, on which a request with a large answer was sent.
async fn ask_for_much(server: &Endpoint) -> Connection {
    let numbers = (0..ROWS).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"x":[{numbers}]}}"#);
    let request = server.authorised(Request::predict(MODEL, body.as_str()).header("Connection", "close"));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = within_deadline("a connection", socket.connect(server.callers)).await.unwrap();
    let mut connection = server.secure(stream).await;
    connection.write(&request.head()).await;
    connection.write(body.as_bytes()).await;
    connection
}

#[tokio::test]
async fn a_caller_that_does_not_read_its_answer_is_given_up() {
    let server = impatient(Duration::from_secs(10), Duration::from_millis(700)).run().await;
    let _deaf = ask_for_much(&server).await;
    witness(&server).await;
    cut(&server, "answer", 1.0).await;
    let in_flight = || async { (server.metrics().await.sum("rscore_in_flight_requests", &[]) == 0.0).then_some(()) };
    crate::support::eventually("the end of its request", in_flight).await;
    witness(&server).await;
}

#[tokio::test]
async fn a_caller_that_reads_slowly_gets_its_answer() {
    // The kernel says that there is room again when a third of its buffer is free, which may
    // hold megabytes: with this reader that takes most of a second.
    let limit = Duration::from_millis(1500);
    let server = impatient(Duration::from_secs(10), limit).run().await;
    let mut connection = ask_for_much(&server).await;
    let started = Instant::now();
    // Two MiB a second at most: the whole takes several times the limit.
    let (mut pipe, mut slow) = tokio::io::duplex(32 * 1024);
    let pump = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(16));
        let mut buffer = vec![0; 32 * 1024];
        loop {
            ticks.tick().await;
            let read = connection.stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 || tokio::io::AsyncWriteExt::write_all(&mut pipe, &buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let reply = within_deadline("a slow answer", read_reply(&mut slow, "POST")).await;
    assert_eq!(reply.predictions().len(), ROWS);
    assert!(started.elapsed() > 2 * limit, "it was not slow: {:?}", started.elapsed());
    pump.await.unwrap();
    assert_eq!(server.metrics().await.sum("rscore_connections_cut_total", &[("reason", "answer")]), 0.0);
}
