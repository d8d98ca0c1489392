//! Each column type as R sees it.

use serde_json::{Value, json};

use crate::support::bundle::run_r;
use crate::support::client::Request;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

/// A column of each type; the script insists on its R type and gives it back.
const COLUMNS: &str = r#"
[columns]
d = "double"
i = "integer"
l = "logical"
c = "character"
f = { type = "factor", levels = ["b", "a", "Zoë \"x\""] }
o = { type = "ordered", levels = ["low", "high"] }
day = "date"
at = "timestamp"
"#;

const ECHO: &str = r#"
score <- function(model, data) {
  stopifnot(
    is.double(data$d), !is.object(data$d), is.integer(data$i), !is.object(data$i), is.logical(data$l),
    is.character(data$c), is.factor(data$f), !is.ordered(data$f), is.ordered(data$o), inherits(data$day, "Date"),
    inherits(data$at, "POSIXct"), identical(attr(data$at, "tzone"), "UTC"),
    identical(levels(data$f), c("b", "a", "Zo\u00eb \"x\"")), identical(levels(data$o), c("low", "high")),
    identical(names(data), c("d", "i", "l", "c", "f", "o", "day", "at")), identical(class(data), "data.frame")
  )
  data
}
"#;

static SERVER: Shared = Shared::new();

fn setup() -> Setup {
    Setup::new()
        .script("echo", ECHO)
        .file("echo", "rscore.toml", COLUMNS)
        .script(
            "missing",
            "score <- function(model, data) data.frame(na = is.na(data$x) & !is.nan(data$x), nan = is.nan(data$x), \
             positive = data$x > 0)",
        )
        .file("missing", "rscore.toml", "[columns]\nx = \"double\"\n")
        .script("non_finite", "score <- function(model, data) c(NA, NaN, Inf, -Inf, 1.5)[data$i]")
        .file("non_finite", "rscore.toml", "[columns]\ni = \"integer\"\n")
        .script("untyped", "score <- function(model, data) vapply(data, function(x) class(x)[1L], '')[data$which]")
        .file(
            "lenient",
            "rscore.toml",
            "unknown_columns = \"ignore\"\n[columns]\n\
             f = { type = \"factor\", levels = [\"a\", \"b\"], unknown_level = \"na\" }\n",
        )
        .script("lenient", "score <- function(model, data) is.na(data$f)")
}

async fn server() -> std::sync::Arc<TestServer> {
    SERVER.get(setup).await
}

/// Sends rows to the model that gives them back.
async fn echo(rows: &Value) -> Vec<Value> {
    server().await.send(Request::predict("echo", rows.to_string())).await.predictions()
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_were() {
    let rows = json!([
        {"d": 0.1, "i": 7, "l": true, "c": "Zoë", "f": "b", "o": "high", "day": "2024-02-29", "at": "2024-02-29T12:34:56.789012Z"},
        {"d": -1.5e-300, "i": -2147483647, "l": false, "c": "", "f": "Zoë \"x\"", "o": "low", "day": "1969-12-31", "at": "1969-12-31T23:59:59.5Z"},
        {"d": 5e-324, "i": 2147483647, "l": true, "c": "line\nbreak \u{1F600}", "f": "a", "o": "low", "day": "0001-01-01", "at": "1900-01-01T00:00:00Z"},
    ]);
    assert_eq!(Value::from(echo(&rows).await), rows);
}

#[tokio::test]
async fn doubles_come_back_to_the_bit() {
    let doubles = [
        0.1 + 0.2,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        5e-324,
        2.225_073_858_507_201e-308,
        -0.0,
        9_007_199_254_740_991.0,
        9_007_199_254_740_992.0,
        1e22,
        1e23,
        123_456_789.123_456_79,
        2e-5,
    ];
    let rows: Vec<Value> = doubles.iter().map(|d| json!({"d": d})).collect();
    let got: Vec<u64> = echo(&rows.into()).await.iter().map(|row| row["d"].as_f64().unwrap().to_bits()).collect();
    assert_eq!(got, doubles.map(f64::to_bits));
}

#[tokio::test]
async fn integer_literals_are_doubles_where_doubles_are_wanted() {
    let rows = echo(&json!([{"d": 3}, {"d": 9_007_199_254_740_992_u64}, {"d": -7}])).await;
    let got: Vec<f64> = rows.iter().map(|row| row["d"].as_f64().unwrap()).collect();
    assert_eq!(got, [3.0, 9_007_199_254_740_992.0, -7.0]);
}

#[tokio::test]
async fn times_with_an_offset_become_utc() {
    let rows = echo(&json!([{"at": "2024-03-01T01:30:00+02:00"}, {"at": "2024-03-01 01:30"}, {"at": "2024-03-01T01:30:00.123-0530"}])).await;
    let got: Vec<&str> = rows.iter().map(|row| row["at"].as_str().unwrap()).collect();
    assert_eq!(got, ["2024-02-29T23:30:00Z", "2024-03-01T01:30:00Z", "2024-03-01T07:00:00.123Z"]);
}

#[tokio::test]
async fn columns_of_nothing_but_null_keep_their_types() {
    let nothing = json!({"d": null, "i": null, "l": null, "c": null, "f": null, "o": null, "day": null, "at": null});
    // The script stops when a type is not as it should be; a key that is left out is the same as null.
    assert_eq!(echo(&json!([nothing, nothing])).await, [nothing.clone(), nothing.clone()]);
    assert_eq!(echo(&json!([{}, {}, {}])).await, vec![nothing; 3]);
}

#[tokio::test]
async fn a_missing_predictor_gives_what_it_gives_in_r() {
    let formulas =
        [("cars_lm", "lm(mpg ~ wt + hp, mtcars)"), ("cars_rpart", "rpart::rpart(mpg ~ wt + hp + disp, mtcars)")];
    let mut setup = Setup::new();
    for (name, expression) in formulas {
        setup = setup.train(name, expression);
    }
    let server = setup.start().await;
    let body = r#"[{"wt": null, "hp": 110, "disp": 160}, {"wt": null, "hp": 300, "disp": 400}]"#;
    for (name, expression) in formulas {
        let body = if name == "cars_lm" { r#"[{"wt": null, "hp": 110}, {"wt": null, "hp": 300}]"# } else { body };
        let got = server.send(Request::predict(name, body)).await.predictions();
        let rows = "data.frame(wt = c(NA_real_, NA), hp = c(110, 300), disp = c(160, 400))";
        let text =
            run_r(&format!("library(rpart); cat(sprintf('%.17g', predict({expression}, {rows})), sep = '\\n')"), &[]);
        let expected: Vec<Option<u64>> = text.lines().map(|line| line.parse().ok().map(f64::to_bits)).collect();
        let got: Vec<Option<u64>> = got.iter().map(|value| value.as_f64().map(f64::to_bits)).collect();
        assert_eq!(got, expected, "{name}");
        assert_eq!(got.iter().any(Option::is_some), name == "cars_rpart", "only a tree has surrogates: {got:?}");
    }
}

#[tokio::test]
async fn na_and_nan_are_told_apart_on_their_way_in() {
    let body = r#"[{"x": null}, {"x": "NaN"}, {"x": "Infinity"}, {"x": "-Infinity"}, {}]"#;
    let server = server().await;
    // A string is no number, unless the caller says that it speaks so.
    server.send(Request::predict("missing", body)).await.is_problem(422, "unprocessable");
    let path = "/models/missing/predict?non_finite=string";
    let rows = server.send(Request::post(path, body)).await.predictions();
    let row = |na, nan, positive: Value| json!({"na": na, "nan": nan, "positive": positive});
    let null = Value::Null;
    assert_eq!(
        rows,
        [
            row(true, false, null.clone()),
            row(false, true, null.clone()),
            row(false, false, true.into()),
            row(false, false, false.into()),
            row(true, false, null),
        ]
    );
}

#[tokio::test]
async fn na_and_nan_are_told_apart_on_their_way_out_when_asked_for() {
    let server = server().await;
    let body = r#"[{"i": 1}, {"i": 2}, {"i": 3}, {"i": 4}, {"i": 5}]"#;
    let send = |query: &str| server.send(Request::post(&format!("/models/non_finite/predict{query}"), body));
    for query in ["", "?non_finite=null"] {
        assert_eq!(Value::from(send(query).await.predictions()), json!([null, null, null, null, 1.5]));
    }
    let strings = send("?non_finite=string").await.predictions();
    assert_eq!(Value::from(strings), json!([null, "NaN", "Infinity", "-Infinity", 1.5]));
}

#[tokio::test]
async fn a_model_without_a_schema_takes_columns_as_they_come() {
    let server = server().await;
    for (which, class) in [("n", "numeric"), ("s", "character"), ("b", "logical")] {
        let body = json!([{"n": 1, "s": "x", "b": true, "which": which}]);
        assert_eq!(server.send(Request::predict("untyped", body.to_string())).await.predictions(), [class]);
    }
}

#[tokio::test]
async fn a_manifest_can_be_lenient() {
    let body = r#"[{"f": "a", "extra": 1}, {"f": "new", "extra": 2}]"#;
    let reply = server().await.send(Request::predict("lenient", body)).await;
    assert_eq!(reply.predictions(), [false, true]);
    let warnings = reply.json()["warnings"].to_string();
    assert!(warnings.contains("extra"), "{warnings}");
}
