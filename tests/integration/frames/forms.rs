//! One table in every form and coding that a body may have.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::client::Request;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

/// Depends on every value and on its place.
const SCRIPT: &str = "score <- function(model, data) sin(data$x) * seq_along(data$x) + nchar(data$s)";
const COLUMNS: &str = "[columns]\nx = \"double\"\ns = \"character\"\n";

static SERVER: Shared = Shared::new();

async fn server() -> std::sync::Arc<TestServer> {
    SERVER.get(|| Setup::new().script("mixed", SCRIPT).file("mixed", "rscore.toml", COLUMNS)).await
}

#[tokio::test]
async fn all_forms_give_the_same_bytes() {
    let server = server().await;
    let forms = [
        r#"[{"x": 0.1, "s": "a"}, {"s": "bc", "x": 1e-7}, {"x": null, "s": ""}]"#,
        r#"{"x": [0.1, 1e-7, null], "s": ["a", "bc", ""]}"#,
        r#"{"columns": ["x", "s"], "data": [[0.1, "a"], [1e-7, "bc"], [null, ""]]}"#,
        r#"{"columns": ["s", "x"], "index": [7, 8, 9], "data": [["a", 0.1], ["bc", 1e-7], ["", null]]}"#,
        r#"{"data": [[0.1, "a"], [1e-7, "bc"], [null, ""]], "columns": ["x", "s"]}"#,
        r#"{"inputs": {"data": [{"x": 0.1, "s": "a"}, {"x": 0.0000001, "s": "bc"}, {"s": ""}]}}"#,
        r#"{"inputs": {"data": {"x": [0.1, 1e-7, null], "s": ["a", "bc", ""]}}}"#,
        "\u{feff} [{\"x\": 0.1, \"s\": \"\\u0061\"},\n\t{\"x\": 10e-8, \"s\": \"bc\"}, {\"x\": null, \"s\": \"\"}] \r\n",
    ];
    let mut answers = Vec::new();
    for form in forms {
        let reply = server.send(Request::predict("mixed", form)).await;
        assert_eq!(reply.predictions().len(), 3, "{form}");
        answers.push(reply.text());
    }
    for (form, answer) in forms.iter().zip(&answers) {
        assert_eq!(answer, &answers[0], "{form}");
    }
}

#[tokio::test]
async fn compressed_bodies_give_the_same_bytes() {
    let server = server().await;
    let rows: Vec<_> = (0..3000).map(|row| json!({"x": f64::from(row) / 7.0, "s": "abc"})).collect();
    let plain = json!(rows).to_string().into_bytes();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let expected = server.send(Request::predict("mixed", plain)).await;
    assert_eq!(expected.predictions().len(), 3000);
    assert_eq!(expected.header("content-encoding"), None);
    for (coding, body) in [("gzip", gzip), ("zstd", zstd)] {
        let request = Request::predict("mixed", body).header("Content-Encoding", coding);
        assert_eq!(server.send(request.clone()).await.body, expected.body, "{coding} in");
        let reply = server.send(request.header("Accept-Encoding", coding)).await;
        assert_eq!(reply.header("content-encoding"), Some(coding));
        assert!(reply.body.len() < expected.body.len());
        let mut inflated = Vec::new();
        match coding {
            "gzip" => GzDecoder::new(reply.body.as_slice()).read_to_end(&mut inflated).map(drop).unwrap(),
            _ => inflated = zstd::decode_all(reply.body.as_slice()).unwrap(),
        }
        assert_eq!(inflated, expected.body, "{coding} out");
    }
    let broken = Request::predict("mixed", "[{}]").header("Content-Encoding", "gzip");
    server.send(broken).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let server = server().await;
    let mut connection = server.connect().await;
    for row in 0..20 {
        let request = server.authorised(Request::predict("mixed", json!([{"x": 0, "s": "x".repeat(row)}]).to_string()));
        assert_eq!(connection.send(&request).await.predictions(), [row as f64]);
    }
}
