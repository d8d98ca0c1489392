//! Bodies over the limit: the refusal is read by a caller that is busy sending.

use tokio::io::AsyncWriteExt;

use super::{GOOD, PATH, server};
use crate::support::client::{Request, read_reply};
use crate::support::{golden, within_deadline};

/// Above the limit of 64 MiB.
const BYTES: usize = 100_000_000;

/// Bytes that are written at a time.
const PIECE: usize = 64 * 1024;

#[tokio::test]
async fn a_hundred_megabytes_are_refused_while_they_are_sent() {
    let server = server().await;
    let request = Request::post(PATH, "").header("Content-Length", &BYTES.to_string()).header("X-Request-Id", "golden");
    let mut connection = server.connect().await;
    connection.write(&server.authorised(request).head()).await;
    let (mut reader, mut writer) = tokio::io::split(connection.stream);
    let sending = tokio::spawn(async move {
        let piece = vec![b' '; PIECE];
        let mut left = BYTES;
        while left > 0 {
            let next = left.min(PIECE);
            // The server may close once it has said no.
            if writer.write_all(&piece[..next]).await.is_err() {
                break;
            }
            left -= next;
        }
    });
    let reply = within_deadline("the refusal", read_reply(&mut reader, "POST")).await;
    golden::check("too_large", &reply);
    within_deadline("the end of the sending", sending).await.unwrap();
    assert_eq!(server.send(Request::post(PATH, GOOD)).await.predictions(), [42.0]);
}

#[tokio::test]
async fn a_caller_that_sends_everything_first_reads_its_refusal_too() {
    let server = server().await;
    let mut connection = server.connect().await;
    let request = server.authorised(Request::post(PATH, vec![b' '; BYTES]));
    let reply = within_deadline("the refusal", connection.send(&request)).await;
    reply.is_problem(413, "too-large");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_small_body_that_inflates_beyond_the_limit_is_refused() {
    let server = server().await;
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b' '), BYTES as u64), 1).unwrap();
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    let request = Request::post(PATH, bomb).header("Content-Encoding", "zstd").header("X-Request-Id", "golden");
    golden::check("inflates_too_large", &server.send(request).await);
    assert_eq!(server.send(Request::post(PATH, GOOD)).await.predictions(), [42.0]);
}
