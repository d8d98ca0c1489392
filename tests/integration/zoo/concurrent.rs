//! The zoo under callers that come together: rows of all models and of different
//! callers are in the air at once, some of them bad, and everybody else still gets
//! R's own numbers, bit for bit.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Expected, differences, read};
use crate::support::client::Request;
use crate::support::endpoint::Endpoint;
use crate::support::server::TestServer;

/// Callers at once.
const CALLERS: usize = 64;

/// Requests of each.
const REQUESTS: usize = 12;

/// Every so many requests carry a row that can't be scored.
const BAD_EVERY: usize = 7;

/// A model whose rows may go wrong within R, where schemas of trained models refuse what is
/// bad before.
pub(super) const PICKY: &str = "picky";
pub(super) const PICKY_SCRIPT: &str =
    "score <- function(model, data) { if (any(data$x < 0)) stop('below zero'); sqrt(data$x) }";

/// What the zoo has of a model.
struct Model {
    name: String,
    rows: Vec<Value>,
    expected: Expected,
    /// Whether requests share calls. Where rows depend on each other, a part of the rows
    /// has another answer.
    joined: bool,
}

/// What is done to the first row of a request.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Good,
    /// A column that no schema has.
    UnknownColumn,
    /// A level that the schema refuses if it knows all, and that the model may take otherwise.
    UnknownLevel,
}

/// What came of a caller's requests.
#[derive(Default)]
struct Tally {
    problems: Vec<String>,
    /// Requests with an error of R.
    failed_in_r: usize,
}

/// What differs from R's answers, over all callers.
pub(super) async fn differences_among_callers(server: &TestServer, zoo: &Path, models: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for name in models {
        let details = server.send(Request::get(&format!("/models/{name}"))).await.json();
        let rows = read(&zoo.join(format!("{name}.request.json")));
        let expected = read(&zoo.join(format!("{name}.expected.json")));
        all.push(Model { name: name.clone(), rows, expected, joined: details["joins_requests"] == true });
    }
    let joining = all.iter().filter(|model| model.joined).count();
    assert!(joining >= 12, "only {joining} models of the zoo join requests");
    let picky = server.send(Request::get(&format!("/models/{PICKY}"))).await.json();
    assert_eq!(picky["joins_requests"], true, "{picky:#}");
    let before = calls(server).await;
    let all = Arc::new(all);
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(call(Endpoint::clone(server), all.clone(), caller))).collect();
    let mut tally = Tally::default();
    for caller in callers {
        let one = caller.await.expect("a caller that ends");
        tally.problems.extend(one.problems);
        tally.failed_in_r += one.failed_in_r;
    }
    let made = calls(server).await - before;
    assert!(made < (2 * CALLERS * REQUESTS) as f64, "{made} calls: requests of different callers did not meet");
    assert!(tally.failed_in_r > 0, "no row went wrong within R: nobody was spared");
    tally.problems
}

/// The requests of one caller.
async fn call(endpoint: Endpoint, models: Arc<Vec<Model>>, caller: usize) -> Tally {
    let mut connection = endpoint.connect().await;
    let mut tally = Tally::default();
    for turn in 0..REQUESTS {
        // Neighbours ask the same model, so that their rows meet.
        let model = &models[(caller / 8 + turn) % models.len()];
        let (first, count) = match model.joined {
            true => ((caller * REQUESTS + turn) % (model.rows.len() - 3), 1 + turn % 3),
            false => (0, model.rows.len()),
        };
        let mut rows = model.rows[first..first + count].to_vec();
        let done = match (caller + turn).is_multiple_of(BAD_EVERY) {
            true => spoil(&mut rows[0], turn),
            false => Row::Good,
        };
        let body = serde_json::to_vec(&rows).expect("JSON");
        let reply = connection.send(&endpoint.authorised(Request::predict(&model.name, body))).await;
        match (done, reply.status) {
            (Row::Good, 200) => {
                tally.problems.extend(differences(&model.name, &model.expected, &reply.predictions(), first, count));
            }
            // The other rows of the request have R's numbers.
            (Row::UnknownLevel, 200) if model.joined => {
                let predictions = &reply.predictions()[1..];
                tally.problems.extend(differences(&model.name, &model.expected, predictions, first + 1, count - 1));
            }
            (Row::UnknownLevel, 500) => tally.failed_in_r += 1,
            (Row::UnknownColumn | Row::UnknownLevel, 422) | (Row::UnknownLevel, 200) => {}
            (_, status) => tally.problems.push(format!("{}: {status} {}", model.name, reply.text())),
        }
        let x = (caller * REQUESTS + turn) as f64 / 3.0;
        let bad = (caller + turn) % BAD_EVERY == 3;
        let second = if bad { -1.0 } else { x + 1.0 };
        let body = format!(r#"[{{"x": {x}}}, {{"x": {second}}}]"#);
        let reply = connection.send(&endpoint.authorised(Request::predict(PICKY, body))).await;
        match (bad, reply.status) {
            (true, 500) => tally.failed_in_r += 1,
            // The square root is exact, in R as here (IEEE 754).
            (false, 200) if reply.predictions() == [x.sqrt(), second.sqrt()] => {}
            (_, status) => tally.problems.push(format!("{PICKY}, {x} and {second}: {status} {}", reply.text())),
        }
    }
    tally
}

/// Calls of R that scored something so far.
async fn calls(server: &TestServer) -> f64 {
    server.metrics().await.sum("rscore_batch_rows_count", &[])
}

/// Does something to a row that R or the schema may not like.
fn spoil(row: &mut Value, turn: usize) -> Row {
    let row = row.as_object_mut().expect("a record");
    let text = row.values_mut().find(|value| value.is_string()).filter(|_| turn.is_multiple_of(2));
    if let Some(value) = text {
        *value = Value::from("a level that nobody knows");
        return Row::UnknownLevel;
    }
    row.insert("a column that nobody knows".to_owned(), Value::from(1));
    Row::UnknownColumn
}
