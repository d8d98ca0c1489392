//! Models of many classes that R trains for this run (`zoo.R`): the server's
//! answers are R's own, bit for bit, and bundles that can't be loaded say why.

mod concurrent;

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::support::client::Request;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

/// Rows of each request of the zoo.
const ROWS: usize = 200;

#[derive(Deserialize)]
struct Index {
    models: Vec<String>,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    name: String,
    /// Regular expression that the reason must match.
    why: String,
}

#[derive(Deserialize)]
struct Expected {
    unnamed: bool,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    values: Vec<Option<String>>,
}

#[tokio::test]
async fn every_model_gives_the_numbers_of_r_and_every_bad_bundle_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let zoo = directory.path();
    train(zoo);
    let index: Index = read(&zoo.join("index.json"));
    let setup = Setup::new()
        .script(concurrent::PICKY, concurrent::PICKY_SCRIPT)
        .file(concurrent::PICKY, "rscore.toml", "row_independent = true\n[columns]\nx = \"double\"\n")
        .file(concurrent::PICKY, "sample.json", r#"[{"x": 1}, {"x": 2}, {"x": 3}]"#);
    for model in &index.models {
        setup.repository.link(model, &zoo.join(model));
    }
    for failure in &index.failures {
        setup.repository.link(&failure.name, &zoo.join("failures").join(&failure.name));
    }
    let server = setup.start().await;

    assert!(index.models.len() >= 15 && index.failures.len() >= 15, "the zoo is smaller than it was");
    let mut problems = Vec::new();
    for model in &index.models {
        problems.extend(compare(&server, zoo, model).await);
    }
    problems.extend(concurrent::differences_among_callers(&server, zoo, &index.models).await);
    for failure in &index.failures {
        problems.extend(failed(&server, failure).await);
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));

    // By default one bundle that can't be loaded keeps the server unready.
    let ready = server.operator("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    let report = ready.json();
    let unready = report["models"].as_array().unwrap().iter().filter(|model| model["workers_ready"] == 0).count();
    assert_eq!(unready, index.failures.len(), "{report:#}");
}

#[tokio::test]
async fn a_bundle_that_can_not_be_loaded_can_be_excused() {
    let setup = Setup::new()
        .script("good", "score <- function(model, data) data$x")
        .file("bad", "score.R", "stop('the weights are not here')")
        .settings(|settings| settings.models.require_all = false);
    let server = setup.start().await;
    let ready = server.operator("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let bad = ready.json()["models"].as_array().unwrap().iter().find(|model| model["name"] == "bad").cloned();
    let bad = bad.expect("it is listed");
    assert_eq!(bad["state"], "failed");
    assert!(bad["reason"].as_str().unwrap().contains("the weights are not here"), "{bad}");
    assert_eq!(server.send(Request::predict("good", r#"[{"x": 1}]"#)).await.predictions(), [1.0]);
    server.send(Request::predict("bad", r#"[{"x": 1}]"#)).await.is_problem(503, "unavailable");
}

/// Has R make the zoo.
fn train(zoo: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/zoo.R");
    let output = Command::new("Rscript").arg("--vanilla").arg(script).arg(zoo).output().expect("Rscript runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What differs between the server's answer and R's.
async fn compare(server: &TestServer, zoo: &Path, model: &str) -> Vec<String> {
    let request = std::fs::read(zoo.join(format!("{model}.request.json"))).unwrap();
    let expected: Expected = read(&zoo.join(format!("{model}.expected.json")));
    let reply = server.send(Request::predict(model, request)).await;
    if reply.status != 200 {
        return vec![format!("{model}: {} {}", reply.status, reply.text())];
    }
    let body = reply.json();
    assert_eq!((&body["model"], &body["version"]), (&Value::from(model), &Value::from(1)));
    let rows = reply.predictions();
    differences(model, &expected, &rows, 0, ROWS)
}

/// What differs between rows of an answer and R's values from row `first` on.
fn differences(model: &str, expected: &Expected, rows: &[Value], first: usize, count: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if rows.len() != count {
        problems.push(format!("{model}: {} rows instead of {count}", rows.len()));
    }
    for (row, got) in (first..).zip(rows) {
        if !expected.unnamed {
            let names: Vec<&str> =
                got.as_object().map(|row| row.keys().map(String::as_str).collect()).unwrap_or_default();
            let mut wanted: Vec<&str> = expected.columns.iter().map(|column| column.name.as_str()).collect();
            wanted.sort_unstable();
            if names != wanted {
                problems.push(format!("{model}, row {row}: columns {names:?} instead of {wanted:?}"));
                continue;
            }
        }
        for column in &expected.columns {
            let cell = if expected.unnamed { got } else { &got[&column.name] };
            let wanted = column.values[row].as_deref();
            if !equal(&column.kind, wanted, cell) {
                problems.push(format!("{model}, row {row}, column '{}': {cell} instead of {wanted:?}", column.name));
            }
        }
    }
    problems.truncate(5);
    problems
}

/// Whether a cell of the answer is R's value, as `zoo.R` writes it.
fn equal(kind: &str, wanted: Option<&str>, got: &Value) -> bool {
    let Some(wanted) = wanted else { return got.is_null() };
    match kind {
        "double" if wanted == "NA" => got.is_null(),
        "double" => {
            let wanted = u64::from_str_radix(wanted, 16).expect("sixteen hexadecimal digits");
            // NaN and the infinities are null unless asked for.
            if !f64::from_bits(wanted).is_finite() {
                return got.is_null();
            }
            got.as_f64().map(f64::to_bits) == Some(wanted)
        }
        "integer" => got.as_i64().is_some_and(|got| got.to_string() == wanted),
        "logical" => got.as_bool().is_some_and(|got| got == (wanted == "TRUE")),
        "timestamp" => got.as_str().is_some_and(|got| microseconds(got) == microseconds(wanted)),
        "character" | "factor" | "date" => got.as_str() == Some(wanted),
        other => panic!("the zoo has a type '{other}'"),
    }
}

/// An instant with all six digits of its fraction.
fn microseconds(text: &str) -> String {
    let (whole, fraction) = text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    format!("{whole}.{fraction:0<6}Z")
}

/// Asserts that metadata says why a bundle failed and that it can't be scored.
async fn failed(server: &TestServer, failure: &Failure) -> Vec<String> {
    let Failure { name, why } = failure;
    let details = server.send(Request::get(&format!("/models/{name}"))).await.json();
    let reason = details["reason"].as_str().unwrap_or_default();
    let mut problems = Vec::new();
    if details["state"] != "failed" || !regex_lite::Regex::new(why).expect("a pattern").is_match(reason) {
        problems.push(format!("{name}: {} because '{reason}', which is not /{why}/", details["state"]));
    }
    let reply = server.send(Request::predict(name, "[]")).await;
    if reply.status != 503 {
        problems.push(format!("{name}: scoring gives {}", reply.status));
    }
    problems
}
