//! What R prints reaches the log of the real program, with the model's name.

use serde_json::Value;

use crate::support::client::Request;
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
    for (text, level) in [
        ("a message at load", "WARN"),
        ("printed at load", "INFO"),
        ("a warning at load", "WARN"),
        ("printed while scoring", "INFO"),
        ("half a line, and its end", "INFO"),
        ("a message while scoring", "WARN"),
        ("a warning while scoring", "WARN"),
    ] {
        let line = program.logged(&format!("'{text}' in the log"), |line| says(line, text)).await;
        assert_eq!((&line["model.name"], &line["model.version"]), (&"talks".into(), &1.into()), "{line}");
        assert_eq!(line["level"], level, "{line}");
    }
    let warning = program.logged("the warning", |line| says(line, "a warning while scoring")).await;
    assert_eq!(warning["request.id"], "request-7", "{warning}");
    assert_eq!((&warning["trace.id"], &warning["traceparent"]), (&TRACE.into(), &TRACEPARENT.into()), "{warning}");
    assert!(warning["worker.id"].is_u64(), "{warning}");
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
