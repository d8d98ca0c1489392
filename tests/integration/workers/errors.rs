//! Errors that the model's code raises: answers, not deaths.

use crate::support::client::Request;
use crate::support::golden;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

const FAILS: &str = r#"
check_income <- function(income) if (any(income < 0)) stop("income must not be negative: ", income[income < 0][1])
score <- function(model, data) { check_income(data$x); 2 * data$x }
"#;

static SERVER: Shared = Shared::new();

fn setup() -> Setup {
    Setup::new()
        .script("fails", FAILS)
        .script("drops", "score <- function(model, data) 2 * data$x[data$x > 0]")
        .script("returns_a_list", "score <- function(model, data) list(a = 1, b = 'x')")
}

async fn predict(server: &TestServer, model: &str, body: &str) -> crate::support::client::Reply {
    server.send(Request::predict(model, body).header("X-Request-Id", "golden")).await
}

#[tokio::test]
async fn an_error_of_the_model_is_told_with_its_class_message_and_call() {
    let server = SERVER.get(setup).await;
    let before = server.workers("fails");
    let reply = predict(&server, "fails", r#"[{"x": 1}, {"x": -2.5}]"#).await;
    reply.is_problem(500, "model-error");
    golden::check("model_error", &reply);
    let after = server.workers("fails");
    assert_eq!(before, after, "an error costs no worker");
    assert_eq!(predict(&server, "fails", r#"[{"x": 21}]"#).await.predictions(), [42.0]);
}

#[tokio::test]
async fn an_error_of_the_model_is_kept_back_when_the_operator_says_so() {
    let setup = Setup::new().script("fails", FAILS).settings(|settings| settings.server.expose_model_errors = false);
    let server = setup.start().await;
    let reply = predict(&server, "fails", r#"[{"x": -2.5}]"#).await;
    assert!(!reply.text().contains("income"), "{}", reply.text());
    golden::check("model_error_hidden", &reply);
}

#[tokio::test]
async fn a_wrong_number_of_predictions_is_an_error() {
    let server = SERVER.get(setup).await;
    assert_eq!(predict(&server, "drops", r#"[{"x": 1}]"#).await.predictions(), [2.0]);
    let reply = predict(&server, "drops", r#"[{"x": 1}, {"x": -1}, {"x": 3}]"#).await;
    reply.is_problem(500, "model-error");
    golden::check("wrong_row_count", &reply);
}

#[tokio::test]
async fn a_result_that_is_no_column_is_an_error_that_says_what_to_return() {
    let server = SERVER.get(setup).await;
    let reply = predict(&server, "returns_a_list", r#"[{"x": 1}]"#).await;
    reply.is_problem(500, "model-error");
    golden::check("bad_result", &reply);
}
