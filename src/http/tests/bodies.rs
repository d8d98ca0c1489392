//! Bodies: compressed, too large, too slow, in pieces.

use std::io::Read;
use std::time::Duration;

use super::harness::{EVERYTHING, Request, Scripted, Setup, scored};
use crate::http::coding::Coding;

const PATH: &str = "/models/double/predict";
const LIMIT: usize = 1024 * 1024;

fn limited() -> Setup {
    Setup::new().settings(|settings| settings.limits.max_body_bytes = LIMIT)
}

/// Rows in JSON, `bytes` long.
fn rows(bytes: usize) -> Vec<u8> {
    let mut body = b"[{\"x\": 1}]".to_vec();
    body.resize(bytes, b' ');
    body
}

fn chunked_head() -> Vec<u8> {
    let request = Request::new("POST", PATH).scope(EVERYTHING).header("Content-Type", "application/json");
    request.header("Transfer-Encoding", "chunked").head()
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read() {
    let server = limited().start().await;
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = coding.deflate(b"[{\"x\": 21}]".to_vec()).expect("compresses");
        let reply = server.send(Request::post(PATH, body).header("Content-Encoding", coding.name())).await;
        assert_eq!(reply.json()["predictions"][0], 42.0, "{coding:?}");
        let broken = Request::post(PATH, "[{\"x\": 21}]").header("Content-Encoding", coding.name());
        server.send(broken).await.is_problem(400, "malformed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_before_and_after_inflating() {
    let server = limited().start().await;
    assert_eq!(server.send(Request::post(PATH, rows(LIMIT))).await.status, 200, "at the limit");
    server.send(Request::post(PATH, rows(LIMIT + 1))).await.is_problem(413, "too-large");
    for coding in [Coding::Gzip, Coding::Zstd] {
        let post = |bytes| {
            let body = coding.deflate(rows(bytes)).expect("compresses");
            server.send(Request::post(PATH, body).header("Content-Encoding", coding.name()))
        };
        assert_eq!(post(LIMIT).await.status, 200);
        post(LIMIT + 1).await.is_problem(413, "too-large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_over_the_limit_is_refused_unread() {
    let server = limited().start().await;
    let mut client = server.connect().await;
    client.write(&Request::post(PATH, "").header("Content-Length", "99999999999999999999").head()).await;
    assert_eq!(client.reply().await.status, 400, "not a length at all");
    let mut client = server.connect().await;
    client.write(&Request::post(PATH, "").header("Content-Length", &(LIMIT + 1).to_string()).head()).await;
    let reply = client.reply().await;
    reply.is_problem(413, "too-large");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_sends_everything_first_still_reads_its_413() {
    let server = limited().start().await;
    let body = rows(64 * LIMIT);
    server.send(Request::post(PATH, body.clone())).await.is_problem(413, "too-large");

    // The same without a declared length.
    let mut client = server.connect().await;
    client.write(&chunked_head()).await;
    for piece in body.chunks(LIMIT) {
        client.write(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        client.write(piece).await;
        client.write(b"\r\n").await;
    }
    client.write(b"0\r\n\r\n").await;
    let reply = client.reply().await;
    reply.is_problem(413, "too-large");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_is_put_together() {
    let server = limited().start().await;
    let mut client = server.connect().await;
    client.write(&chunked_head()).await;
    client.write(b"4\r\n[{\"x\r\n").await;
    client.write(b"6\r\n\": 1}]\r\n0\r\n\r\n").await;
    assert_eq!(client.reply().await.json()["predictions"][0], 2.0);
    assert_eq!(client.send(Request::get("/models")).await.status, 200, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_given_up() {
    let server = limited().settings(|settings| settings.server.body_timeout = Duration::from_millis(30)).start().await;
    let mut client = server.connect().await;
    client.write(&Request::post(PATH, "").header("Content-Length", "100").head()).await;
    client.write(b"[").await;
    let reply = client.reply().await;
    reply.is_problem(408, "body-timeout");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_refused_body_does_not_cost_the_connection() {
    let server = limited().start().await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        let reply = client.send(Request::post("/models/none/predict", rows(1000))).await;
        reply.is_problem(404, "not-found");
        assert_eq!(reply.header("connection"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_those_who_ask() {
    let scripted = Scripted::new(|_| async { Ok(scored((0..50_000).map(|row| Some(f64::from(row) / 8.0)).collect())) });
    let server = Setup::new().model("many", 1, scripted).start().await;
    let request = || Request::post("/models/many/predict", "[{\"x\": 1}]");
    let plain = server.send(request()).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.json()["predictions"].as_array().expect("a list").len(), 50_000);

    let gzip = server.send(request().header("Accept-Encoding", "gzip, deflate")).await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert!(gzip.body.len() < plain.body.len() / 2);
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut inflated).expect("gzip");
    assert_eq!(inflated, plain.body);

    let zstd = server.send(request().header("Accept-Encoding", "zstd")).await;
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    assert_eq!(zstd::decode_all(zstd.body.as_slice()).expect("zstd"), plain.body);
    let small = server.send(Request::post(PATH, "[{\"x\": 1}]").header("Accept-Encoding", "gzip")).await;
    assert_eq!(small.header("content-encoding"), None);
}
