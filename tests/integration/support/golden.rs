//! Answers as they are in `golden/*.json`. `UPDATE_GOLDEN=1` writes what the
//! server says now; the change is then to be read in the diff.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::client::Reply;

/// The headers that are part of a refusal.
const HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "allow",
    "connection",
    "content-type",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

/// Asserts that an answer is the golden one of that name.
#[track_caller]
pub fn check(name: &str, reply: &Reply) {
    let headers: Map<String, Value> =
        HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), reply.header(name)?.into()))).collect();
    let got = json!({"status": reply.status, "headers": headers, "body": reply.json()});
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/golden").join(format!("{name}.json"));
    if update() {
        fs::write(&path, format!("{got:#}\n")).expect("a golden file");
        return;
    }
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    assert!(got == expected, "golden/{name}.json: the server says\n{got:#}\ninstead of\n{expected:#}");
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the tests, not a setting of the server")]
fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}
