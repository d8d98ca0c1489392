//! Requests that are odd, too large, or not HTTP at all.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MODEL, cut, rest, setup, witness};
use crate::support::client::{Connection, Request, read_reply};
use crate::support::within_deadline;

#[tokio::test]
async fn heads_are_bounded_in_number_and_size() {
    let server = setup().run().await;
    let many = "X-Flood: 1\r\n".repeat(200);
    let large = format!("X-Flood: {}\r\n", "a".repeat(256 * 1024));
    for headers in [many, large] {
        let mut connection = server.connect().await;
        let head = format!("GET /models HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // The server may have had enough before all is sent.
        let _ = connection.stream.write_all(head.as_bytes()).await;
        let answer = rest(&mut connection).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        witness(&server).await;
    }
}

#[tokio::test]
async fn odd_requests_get_an_answer_of_their_own() {
    let server = setup().run().await;
    let path = format!("/models/{}", "x".repeat(32 * 1024));
    server.send(Request::get(&path)).await.is_problem(404, "not-found");
    let reply = server.send(Request::new("BREW", "/models")).await;
    reply.is_problem(405, "method-not-allowed");
    server.send(Request::new("CONNECT", "localhost:443")).await.is_problem(404, "not-found");
    for malformed in ["GET\r\n\r\n", "GET /models HTTP/9.9\r\n\r\n", "GET /models HTTP/1.1\r\nX: \0\r\n\r\n"] {
        let mut connection = server.connect().await;
        connection.write(malformed.as_bytes()).await;
        let answer = rest(&mut connection).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{malformed:?}: {answer}");
        // docs/http.md says so of heads that can't be read.
        assert!(answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    witness(&server).await;
}

#[tokio::test]
async fn a_body_whose_chunks_are_broken_is_told_so() {
    let server = setup().run().await;
    for (media_type, chunks) in [
        ("application/json", "zz\r\nabc\r\n"),
        ("application/json", "3\r\n[{\"\r\n-1\r\n"),
        ("text/csv", "4\r\nx\n1\n\r\n9z\r\n"),
    ] {
        let request = server.authorised(Request::predict(MODEL, "").without("Content-Length"));
        let request = request.header("Content-Type", media_type).header("Transfer-Encoding", "chunked");
        let (head, (first, last)) = (request.head(), chunks.as_bytes().split_at(1));
        for pieces in [vec![&head, chunks.as_bytes()], vec![&head, first, last]] {
            let mut connection = server.connect().await;
            for piece in pieces {
                connection.write(piece).await;
            }
            let reply = within_deadline("an answer", read_reply(&mut connection.stream, "POST")).await;
            let problem = reply.is_problem(400, "malformed");
            assert!(problem["detail"].as_str().unwrap().contains("framing is broken"), "{problem}");
            assert_eq!(reply.header("connection"), Some("close"), "{chunks:?}");
            rest(&mut connection).await;
        }
    }
    witness(&server).await;
}

#[tokio::test]
async fn a_caller_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let server = setup().run().await;
    let body = r#"{"x": [3]}"#;
    let request = server.authorised(Request::predict(MODEL, body).header("Expect", "100-continue"));
    let mut connection = server.connect().await;
    connection.write(&request.head()).await;
    let mut line = [0; 25];
    within_deadline("leave to go on", connection.stream.read_exact(&mut line)).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write(body.as_bytes()).await;
    let reply = within_deadline("an answer", read_reply(&mut connection.stream, "POST")).await;
    assert_eq!(reply.predictions(), [1.0]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = setup().run().await;
    let bodies: Vec<String> = (0..40).map(|number| format!(r#"{{"x": [{}]}}"#, 3 * number)).collect();
    let mut all = Vec::new();
    for body in &bodies {
        let request = server.authorised(Request::predict(MODEL, body.as_str()));
        all.extend(request.head());
        all.extend(body.as_bytes());
    }
    let mut connection = server.connect().await;
    connection.write(&all).await;
    for number in 0..bodies.len() {
        let reply = within_deadline("an answer", read_reply(&mut connection.stream, "POST")).await;
        assert_eq!(reply.predictions(), [number as f64]);
    }
    witness(&server).await;
}

#[tokio::test]
async fn a_caller_that_closes_its_side_is_gone() {
    let server = setup().run().await;
    let mut connection = server.connect().await;
    let request = server.authorised(Request::predict(MODEL, r#"{"x": [1]}"#));
    connection.write(&request.head()).await;
    connection.stream.shutdown().await.unwrap();
    let answer = rest(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("ended before it was complete"), "{answer}");
    witness(&server).await;
}

#[tokio::test]
async fn plain_http_on_the_port_of_https_is_told_so() {
    let server = setup().run().await;
    let mut connection = Connection { stream: Box::new(TcpStream::connect(server.callers).await.unwrap()) };
    let reply = within_deadline("an answer", connection.send(&Request::get("/models"))).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["detail"].as_str().unwrap().contains("https://"), "{}", reply.text());
    cut(&server, "plain_http", 1.0).await;
    witness(&server).await;
}
