//! What a scoring script may return.

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::server::Shared;
use crate::support::setup::Setup;

const SCRIPT: &str = r#"
score <- function(model, data) {
  n <- nrow(data)
  switch(
    data$what[1],
    vector = data$x,
    names = setNames(data$x, letters[seq_len(n)]),
    logical = data$x > 1,
    character = as.character(data$x),
    factor = factor(c("low", "high")[1 + (data$x > 1)], levels = c("low", "high")),
    na_level = addNA(factor(c("low", NA)[data$x])),
    na_between = structure(c(3L, 2L)[data$x], levels = c("a", NA, "b"), class = "factor"),
    na_name = matrix(c(data$x, -data$x), n, dimnames = list(NULL, c(NA, "yes"))),
    date = as.Date("2024-02-28") + data$x,
    time = as.POSIXct("2024-02-28 23:00:00", tz = "America/New_York") + data$x / 2,
    matrix = matrix(c(data$x, -data$x), n, dimnames = list(NULL, c("plus", "minus"))),
    bare_matrix = cbind(data$x, data$x^2, deparse.level = 0),
    one_column = matrix(data$x, n),
    frame = data.frame(level = factor(data$x), twice = 2L * as.integer(data$x), `odd name` = data$x %% 2 == 1, check.names = FALSE),
    nested = { out <- data.frame(id = seq_len(n)); out$p <- cbind(a = data$x, b = 1); out },
    array = array(data$x, c(n, 1, 1))
  )
}
"#;

static SERVER: Shared = Shared::new();

#[tokio::test]
async fn every_shape_has_its_json() {
    let server = SERVER.get(|| Setup::new().script("shapes", SCRIPT)).await;
    for (what, expected) in [
        ("vector", json!([1.0, 2.0])),
        ("names", json!([1.0, 2.0])),
        ("logical", json!([false, true])),
        ("character", json!(["1", "2"])),
        ("factor", json!(["low", "high"])),
        ("na_level", json!(["low", null])),
        ("na_between", json!(["b", null])),
        ("date", json!(["2024-02-29", "2024-03-01"])),
        ("time", json!(["2024-02-29T04:00:00.5Z", "2024-02-29T04:00:01Z"])),
        ("matrix", json!([{"plus": 1.0, "minus": -1.0}, {"plus": 2.0, "minus": -2.0}])),
        ("bare_matrix", json!([{"V1": 1.0, "V2": 1.0}, {"V1": 2.0, "V2": 4.0}])),
        ("one_column", json!([1.0, 2.0])),
        ("frame", json!([{"level": "1", "twice": 2, "odd name": true}, {"level": "2", "twice": 4, "odd name": false}])),
        ("nested", json!([{"id": 1, "p.a": 1.0, "p.b": 1.0}, {"id": 2, "p.a": 2.0, "p.b": 1.0}])),
        ("array", json!([1.0, 2.0])),
    ] {
        let rows = json!([{"x": 1, "what": what}, {"x": 2, "what": what}]);
        let got = server.send(Request::predict("shapes", rows.to_string())).await.predictions();
        assert_eq!(Value::from(got), expected, "{what}");
        // One row is a list of one, whatever its shape.
        let got = server.send(Request::predict("shapes", json!([rows[0]]).to_string())).await.predictions();
        assert_eq!(Value::from(got), json!([expected[0]]), "{what}, one row");
    }
}

#[tokio::test]
async fn columns_come_in_the_order_of_the_script() {
    let server = SERVER.get(|| Setup::new().script("shapes", SCRIPT)).await;
    let reply = server.send(Request::predict("shapes", r#"[{"x": 1, "what": "frame"}]"#)).await;
    let expected = r#"{"model":"shapes","version":1,"predictions":[{"level":"1","twice":2,"odd name":true}]}"#;
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn values_without_a_name_are_an_error_and_no_other_column() {
    let server = SERVER.get(|| Setup::new().script("shapes", SCRIPT)).await;
    let reply = server.send(Request::predict("shapes", r#"[{"x": 1, "what": "na_name"}]"#)).await;
    assert!(reply.status >= 400, "{}", reply.text());
    assert!(reply.text().contains("column 1 of the matrix that score() returned has no name"), "{}", reply.text());
}
