//! Models that take several tables: a forecast from a history and the days to
//! come.

use crate::support::client::{Reply, Request};
use crate::support::server::Shared;
use crate::support::setup::Setup;

const MANIFEST: &str = r#"
rows_like = "futurex"
[inputs.history]
day = "date"
y = "double"
[inputs.futurex]
day = "date"
holiday = { type = "logical", nullable = false }
"#;

const SCRIPT: &str = r#"
score <- function(model, data) {
  stopifnot(identical(names(data), c("history", "futurex")), is.data.frame(data$history), is.data.frame(data$futurex))
  ahead <- as.numeric(data$futurex$day - max(data$history$day))
  mean(data$history$y, na.rm = TRUE) + ahead + ifelse(data$futurex$holiday, 100, 0)
}
"#;

static SERVER: Shared = Shared::new();

async fn predict(body: &str) -> Reply {
    let server = SERVER.get(|| Setup::new().script("forecast", SCRIPT).file("forecast", "rscore.toml", MANIFEST)).await;
    server.send(Request::predict("forecast", body)).await
}

#[tokio::test]
async fn each_input_has_its_own_rows_and_form() {
    let body = r#"{"inputs": {
        "history": {"day": ["2024-02-27", "2024-02-28", "2024-02-26"], "y": [10, null, 20]},
        "futurex": [{"day": "2024-02-29", "holiday": false}, {"day": "2024-03-01", "holiday": true}]
    }}"#;
    assert_eq!(predict(body).await.predictions(), [16.0, 117.0]);
    // In the other order, and as many rows as futurex has.
    let body = r#"{"inputs": {
        "futurex": {"columns": ["holiday", "day"], "data": [[false, "2024-02-29"]]},
        "history": [{"day": "2024-02-28", "y": 15}]
    }}"#;
    assert_eq!(predict(body).await.predictions(), [16.0]);
}

#[tokio::test]
async fn a_misfit_names_its_input() {
    let body = r#"{"inputs": {
        "history": [{"day": "2024-02-28", "y": 1}],
        "futurex": [{"day": "2024-02-29", "holiday": true}, {"day": "29.02.2024", "holiday": null}]
    }}"#;
    let problem = predict(body).await.is_problem(422, "unprocessable");
    assert_eq!(problem["error_count"], 2, "{problem}");
    for (error, column) in problem["errors"].as_array().unwrap().iter().zip(["day", "holiday"]) {
        assert_eq!((&error["input"], &error["row"], &error["column"]), (&"futurex".into(), &1.into(), &column.into()));
    }
}

#[tokio::test]
async fn what_is_missing_or_too_much_is_said() {
    for (body, words) in [
        (r#"[{"day": "2024-02-29"}]"#, ["history", "futurex"]),
        (r#"{"inputs": {"history": []}}"#, ["futurex", "missing"]),
        (r#"{"inputs": {"history": [], "future": []}}"#, ["future", "history"]),
        (r#"{"inputs": {"history": [], "futurex": [], "history": []}}"#, ["history", "twice"]),
    ] {
        let problem = predict(body).await.is_problem(400, "malformed");
        let detail = problem["detail"].as_str().unwrap();
        assert!(words.iter().all(|word| detail.contains(word)), "{body}: {detail}");
    }
}
