//! What R prints reaches the log of the real program, with the model's name.

use serde_json::Value;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::setup::Setup;

const SCRIPT: &str = r#"
message("a message at load")
print("printed at load")
warning("a warning at load")
score <- function(model, data) {
  if (data$x[1] == -2) quit("no", status = 3)
  if (data$x[1] < 0) stop("no income below 0")
  print("printed while scoring")
  cat("half a line, ")
  cat("and its end\n")
  message("a message while scoring")
  warning("a warning while scoring")
  data$x
}
"#;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn says(line: &Value, text: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(text))
}

#[tokio::test]
async fn output_messages_and_warnings_of_r_are_logged_with_the_model() {
    let program = Setup::new().script("talks", SCRIPT).run().await;
    let request = Request::predict("talks", r#"[{"x": 1}]"#).header("X-Request-Id", "request-7");
    let request = request.header("traceparent", TRACEPARENT);
    let reply = program.send(request).await;
    assert_eq!(reply.json()["warnings"], serde_json::json!(["a warning while scoring"]));
    for (text, level, by_worker) in [
        ("a message at load", "WARN", false),
        ("printed at load", "INFO", false),
        ("a warning at load", "WARN", false),
        ("printed while scoring", "INFO", true),
        ("half a line, and its end", "INFO", true),
        ("a message while scoring", "WARN", true),
        ("a warning while scoring", "WARN", true),
    ] {
        let line = program.logged(&format!("'{text}' in the log"), |line| says(line, text)).await;
        assert_eq!((&line["model.name"], &line["model.version"]), (&"talks".into(), &1.into()), "{line}");
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["worker.id"].is_u64(), by_worker, "{line}");
    }
    let warning = program.logged("the warning", |line| says(line, "a warning while scoring")).await;
    assert_eq!(warning["request.id"], "request-7", "{warning}");
    assert_eq!((&warning["trace.id"], &warning["traceparent"]), (&TRACE.into(), &TRACEPARENT.into()), "{warning}");
    assert!(warning["worker.id"].is_u64(), "{warning}");
}

#[tokio::test]
async fn lines_about_a_shared_call_name_its_requests() {
    let mut gate = Gate::new();
    let script = "score <- function(model, data) {
      if (any(data$x == 100)) gate()
      if (length(data$x) == 2) warning('for two')
      2 * data$x
    }";
    let manifest = "row_independent = true\n[columns]\nx = \"double\"\n";
    let setup = Setup::new().script("shares", &format!("{}{script}", gate.script()));
    let program = setup.file("shares", "rscore.toml", manifest).run().await;
    let first = program.send_beside(Request::predict("shares", r#"[{"x": 100}]"#));
    gate.begun().await;
    let request = |id: &'static str| Request::predict("shares", r#"[{"x": 1}]"#).header("X-Request-Id", id);
    let waiting =
        [program.send_beside(request("one").header("traceparent", TRACEPARENT)), program.send_beside(request("two"))];
    eventually("both in the queue", || async {
        (program.metrics().await.sum("rscore_queue_rows", &[("model", "shares")]) == 2.0).then_some(())
    })
    .await;
    gate.open().await;
    assert_eq!(first.await.unwrap().predictions(), [200.0]);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().predictions(), [2.0]);
    }
    let line =
        program.logged("the warning of both", |line| says(line, "for two") && !line["request.ids"].is_null()).await;
    let mut ids: Vec<&str> = line["request.ids"].as_str().expect("text").split(' ').collect();
    ids.sort_unstable();
    assert_eq!((ids, &line["trace.ids"]), (vec!["one", "two"], &TRACE.into()), "{line}");
    assert!(line["request.id"].is_null() && line["worker.id"].is_u64(), "{line}");
}

#[tokio::test]
async fn output_is_told_apart_by_worker() {
    let mut gate = Gate::new();
    let script = r#"score <- function(model, data) {
      gate()
      # Written in pieces that the other worker's could come between.
      for (i in 1:200) { cat("worker"); cat(" "); cat(Sys.getpid()); cat(" says\n") }
      Sys.getpid()
    }"#;
    let setup = Setup::new().workers(2).script("talks", &format!("{}{script}", gate.script()));
    let setup = setup.file("talks", "rscore.toml", "warm_up = false");
    let program = setup.settings(|settings| settings.workers.output_lines_per_second = 1000).run().await;
    let requests = [(); 2].map(|()| program.send_beside(Request::predict("talks", r#"[{"x": 1}]"#)));
    let workers = [gate.begun().await, gate.begun().await];
    for _ in workers {
        gate.open().await;
    }
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    let mut numbers = Vec::new();
    for pid in workers {
        let said = format!("R: worker {pid} says");
        let lines = eventually("all its lines", || async {
            let lines: Vec<Value> = program.log().into_iter().filter(|line| line["message"] == said).collect();
            (lines.len() == 200).then_some(lines)
        })
        .await;
        let number = &lines[0]["worker.id"];
        assert!(number.is_u64() && lines.iter().all(|line| line["worker.id"] == *number), "one process, one worker");
        numbers.push(number.clone());
    }
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn lines_about_a_lost_worker_name_the_request_and_its_trace() {
    let program = Setup::new().script("talks", SCRIPT).run().await;
    let request = Request::predict("talks", r#"[{"x": -2}]"#).header("X-Request-Id", "killer");
    assert_eq!(program.send(request.header("traceparent", TRACEPARENT)).await.status, 502);
    for text in ["a worker was lost with a request, in attempt 1", "ended its worker process 2 times"] {
        let line = program.logged(&format!("'{text}' in the log"), |line| says(line, text)).await;
        assert_eq!(line["request.id"], "killer", "{line}");
        assert_eq!((&line["trace.id"], &line["traceparent"]), (&TRACE.into(), &TRACEPARENT.into()), "{line}");
    }
}

#[tokio::test]
async fn each_request_is_a_line_with_its_model_and_error_and_without_its_token() {
    let program = Setup::new().script("talks", SCRIPT).run().await;
    for (id, x, status) in [("good", 1, 200), ("bad", -1, 500)] {
        let request = Request::predict("talks", format!("[{{\"x\": {x}}}]")).header("X-Request-Id", id);
        assert_eq!(program.send(request).await.status, status);
        let line =
            program.logged("the request's line", |line| line["request.id"] == id && line["status"] == status).await;
        assert_eq!(
            (&line["model.name"], &line["rows"], &line["subject"]),
            (&"talks".into(), &1.into(), &"tester".into())
        );
        let error = line["error"].as_str().unwrap_or_default();
        assert_eq!(error.contains("no income below 0") && error.contains("simpleError"), status == 500, "{line}");
    }
    let log = program.log();
    assert!(!log.iter().any(|line| line.to_string().contains(&program.token)), "a token is in the log");
}
