//! How HTTP/2 callers learn that the server stops.

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::process::Command;

use super::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, frame, post};
use crate::support::client::Request;
use crate::support::gate::Gate;
use crate::support::keys;
use crate::support::program::Program;
use crate::support::setup::Setup;
use crate::support::{eventually, within_deadline};

const ROW: &str = r#"[{"x": 21}]"#;

fn gated(setup: Setup, model: &str, gate: &Gate) -> Setup {
    let script = format!("{}score <- function(model, data) {{ gate(); 2 * data$x }}", gate.script());
    setup.script(model, &script)
}

async fn draining(program: &Program) {
    eventually("the drain", || async {
        (program.operator("/readyz").await.json()["phase"] == "draining").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_told_and_what_was_asked_on_it_is_answered() {
    let mut gate = Gate::new();
    let mut program = gated(Setup::new(), "gated", &gate).run().await;
    let (mut busy, mut idle) = (Http2::connect(&program, &[]).await, Http2::connect(&program, &[]).await);
    let head = post(&program, "/models/gated/predict", ROW.len());
    let request =
        |stream| [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, END_STREAM, stream, ROW.as_bytes())].concat();
    assert!(busy.send(&request(1)).await);
    gate.begun().await;
    program.signal(Signal::TERM);
    for connection in [&mut busy, &mut idle] {
        let told = connection.until(|frame| frame.kind == GOAWAY).await;
        // The last stream that is answered, and no error.
        assert_eq!((told.stream, told.payload.as_slice()), (0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0][..]));
    }
    draining(&program).await;
    // A request that was on its way when the server said so.
    assert!(busy.send(&request(3)).await);
    let refused = busy.until(|frame| frame.kind == DATA && frame.stream == 3).await;
    assert!(String::from_utf8_lossy(&refused.payload).contains("urn:rscore:problem:unavailable"), "{refused:?}");
    gate.open().await;
    let answer = busy.until(|frame| frame.kind == DATA && frame.stream == 1).await;
    assert!(String::from_utf8_lossy(&answer.payload).contains("[42.0]"), "{answer:?}");
    busy.closed().await;
    idle.closed().await;
    assert_eq!(program.ended().await.code(), Some(0));
}

/// The arguments for one prediction by curl, which prints status, protocol and how
/// many connections it opened for it.
fn prediction(program: &Program, model: &str) -> Vec<String> {
    let address = format!("https://localhost:{}/models/{model}/predict", program.callers.port());
    let token = format!("Authorization: Bearer {}", program.token);
    let ca: &Path = &keys::FILES.ca_certificate;
    let ca = ca.to_str().expect("a path in UTF-8");
    let written = "%{http_code} %{http_version} %{num_connects}\n";
    let arguments = ["--silent", "--http2", "--cacert", ca, "--output", "/dev/null", "--write-out", written];
    let data = ["--header", &token, "--header", "Content-Type: application/json", "--data", ROW, &address];
    arguments.into_iter().chain(data).map(str::to_owned).collect()
}

#[tokio::test]
async fn curl_gets_its_answer_and_asks_again_on_another_connection() {
    let (mut gate, mut last) = (Gate::new(), Gate::new());
    // Two calls of R at once.
    let setup = gated(Setup::new().workers(2), "gated", &gate);
    let mut program = gated(setup, "last", &last).run().await;
    // Keeps the drain from its end.
    let held = program.send_beside(Request::predict("last", ROW));
    last.begun().await;
    let mut curl = Command::new("curl");
    curl.args(prediction(&program, "gated")).arg("--next").args(prediction(&program, "gated"));
    let curl = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl is there");
    gate.begun().await;
    program.signal(Signal::TERM);
    draining(&program).await;
    gate.open().await;
    let output = within_deadline("the end of curl", curl.wait_with_output()).await.expect("its output");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 2 1\n503 2 1\n");
    last.open().await;
    assert_eq!(held.await.expect("no panic").predictions(), [42.0]);
    assert_eq!(program.ended().await.code(), Some(0));
}
