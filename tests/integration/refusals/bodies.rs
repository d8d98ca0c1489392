//! Bodies that are no JSON, or don't fit the schema.

use super::{PATH, refused, server};
use crate::support::client::{Reply, Request};

async fn body(name: &str, body: impl Into<Vec<u8>>) -> Reply {
    refused(name, Request::post(PATH, body)).await
}

/// A good row with one part replaced.
fn row(part: &str, replacement: &str) -> String {
    let good = r#"{"area": 21, "rooms": 3, "kind": "flat"}"#;
    assert!(good.contains(part));
    format!("[{good}, {}]", good.replace(part, replacement))
}

#[tokio::test]
async fn json_that_ends_too_early() {
    body("malformed", r#"[{"area": 21, "rooms": 3"#).await;
}

#[tokio::test]
async fn no_body() {
    body("empty_body", "").await;
}

#[tokio::test]
async fn a_bare_nan() {
    body("bare_nan", row("21", "NaN")).await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8() {
    body("invalid_utf8", b"[{\"kind\": \"fl\xe4t\"}]").await;
}

#[tokio::test]
async fn a_column_that_is_there_twice() {
    body("duplicate_key", row("\"area\": 21", "\"area\": 21, \"area\": 22")).await;
}

#[tokio::test]
async fn brackets_beyond_any_reason() {
    body("deep_nesting", "[".repeat(100_000)).await;
    body("deep_objects", "{\"a\":".repeat(100_000)).await;
}

#[tokio::test]
async fn a_number_as_a_string() {
    let reply = body("numeric_string", row("21", "\"21\"")).await;
    let problem = reply.is_problem(422, "unprocessable");
    assert_eq!(problem["errors"][0]["row"], 1);
}

#[tokio::test]
async fn a_level_that_the_model_has_not_seen() {
    body("unknown_level", row("flat", "castle")).await;
}

#[tokio::test]
async fn an_integer_that_no_double_is_equal_to() {
    // 2^53 + 1 would silently become 2^53.
    body("inexact_integer", row("21", "9007199254740993")).await;
}

#[tokio::test]
async fn integers_that_are_none() {
    body("fraction_for_integer", row("3", "3.5")).await;
    body("integer_out_of_range", row("3", "2147483648")).await;
}

#[tokio::test]
async fn a_null_where_a_value_is_needed() {
    body("null_not_allowed", row("3", "null")).await;
    body("missing_column", r#"[{"area": 21, "kind": "flat"}]"#).await;
}

#[tokio::test]
async fn a_column_that_the_model_does_not_have() {
    body("unknown_column", row("\"kind\"", "\"age\": 7, \"kind\"")).await;
}

#[tokio::test]
async fn more_misfits_than_are_listed() {
    let rows = vec![r#"{"area": "a", "rooms": 3, "kind": "flat"}"#; 25];
    let reply = body("many_misfits", format!("[{}]", rows.join(","))).await;
    assert_eq!(reply.json()["error_count"], 25);
    assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn parquet_whose_columns_are_groups_within_groups() {
    let group = [0x35, 0, 0x18, 1, b'g', 0x15, 2, 0];
    let leaf = [0x15, 10, 0x25, 2, 0x18, 1, b'x', 0];
    // 50001 elements, no rows, no row groups.
    let (head, rest) = ([0x15, 2, 0x19, 0xfc, 0xd1, 0x86, 3], [0x16, 0, 0x19, 0x0c, 0]);
    let footer = [&head[..], &group.repeat(50_000), &leaf, &rest].concat();
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    let file = [b"PAR1", &footer[..], &length, b"PAR1"].concat();
    let request = Request::post(PATH, file).header("Content-Type", "application/vnd.apache.parquet");
    refused("deep_parquet", request).await;
}

#[tokio::test]
async fn no_rows_are_a_good_request() {
    let server = server().await;
    for body in
        ["[]", r#"{"area": [], "rooms": [], "kind": []}"#, r#"{"columns": ["area", "rooms", "kind"], "data": []}"#]
    {
        let reply = server.send(Request::post(PATH, body)).await;
        assert!(reply.predictions().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn too_many_rows() {
    let rows = |count| format!("[{}]", vec![r#"{"area": 1, "rooms": 3, "kind": "flat"}"#; count].join(","));
    assert_eq!(server().await.send(Request::post(PATH, rows(1000))).await.predictions().len(), 1000);
    body("too_many_rows", rows(1001)).await;
}
