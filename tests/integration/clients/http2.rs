//! What HTTP/2 lets a caller do in bulk.

use std::time::Duration;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM, SETTINGS, frame, post,
};
use super::{cut, setup, witness};
use crate::support::endpoint::Endpoint;
use crate::support::eventually;

const PATH: &str = "/models/thirds/predict";

/// SETTINGS_INITIAL_WINDOW_SIZE
const INITIAL_WINDOW: u16 = 4;

async fn nothing_is_under_way(server: &Endpoint) {
    eventually("the end of all requests", || async {
        (server.metrics().await.sum("rscore_in_flight_requests", &[]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_cost_little() {
    let server = setup().run().await;
    let mut connection = Http2::connect(&server, &[]).await;
    let head = post(&server, PATH, 10);
    for number in 0..5_000u32 {
        let stream = 2 * number + 1;
        let pair = [frame(HEADERS, END_HEADERS, stream, &head), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())];
        // The server may have had enough.
        if !connection.send(&pair.concat()).await {
            break;
        }
    }
    witness(&server).await;
    drop(connection);
    nothing_is_under_way(&server).await;
    witness(&server).await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let server = setup().run().await;
    let mut connection = Http2::connect(&server, &[]).await;
    assert!(connection.send(&frame(HEADERS, 0, 1, &post(&server, PATH, 10))).await);
    // A literal field that is never indexed, over and over.
    let field = [&[0x10, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let block = frame(CONTINUATION, 0, 1, &field.repeat(150));
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 && connection.send(&block).await {
        sent += block.len();
    }
    connection.closed().await;
    assert!(sent < 16 * 1024 * 1024, "the server took {sent} bytes of one head");
    cut(&server, "flood", 1.0).await;
    witness(&server).await;
}

#[tokio::test]
async fn frames_that_ask_for_nothing_are_bounded() {
    let server = setup().run().await;
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut connection = Http2::connect(&server, &[]).await;
        let flood = flood.repeat(1_000);
        let mut sent = 0;
        while sent < 64 * 1024 * 1024 && connection.send(&flood).await {
            sent += flood.len();
        }
        assert!(sent < 16 * 1024 * 1024, "the server took {sent} bytes");
        witness(&server).await;
    }
    cut(&server, "flood", 1.0).await;
}

#[tokio::test]
async fn requests_of_one_connection_are_bounded() {
    let server = setup().run().await;
    let mut connection = Http2::connect(&server, &[]).await;
    // Their bodies do not come.
    let head = post(&server, PATH, 10);
    for number in 0..150 {
        assert!(connection.send(&frame(HEADERS, END_HEADERS, 2 * number + 1, &head)).await);
    }
    let mut refused = 0;
    while refused < 50 {
        let frame = connection.receive().await.expect("the connection is kept");
        if frame.kind == DATA && !frame.payload.is_empty() {
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            assert!(frame.stream > 200 && text.contains("urn:rscore:problem:overloaded"), "{text}");
            refused += 1;
        }
    }
    assert_eq!(server.metrics().await.sum("rscore_rejected_total", &[("reason", "connection")]), 50.0);
    witness(&server).await;
    drop(connection);
    nothing_is_under_way(&server).await;
}

#[tokio::test]
async fn a_caller_that_gives_no_window_for_its_answer_is_given_up() {
    let server = setup().settings(|settings| settings.server.write_timeout = Duration::from_millis(500)).run().await;
    let mut connection = Http2::connect(&server, &[(INITIAL_WINDOW, 0)]).await;
    let body = br#"{"x": [3]}"#;
    let request = [frame(HEADERS, END_HEADERS, 1, &post(&server, PATH, body.len())), frame(DATA, END_STREAM, 1, body)];
    assert!(connection.send(&request.concat()).await);
    witness(&server).await;
    cut(&server, "answer", 1.0).await;
    connection.closed().await;
    nothing_is_under_way(&server).await;
}
