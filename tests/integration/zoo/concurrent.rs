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

/// What the zoo has of a model whose requests are joined.
struct Joined {
    name: String,
    rows: Vec<Value>,
    expected: Expected,
}

/// What differs from R's answers, over all callers.
pub(super) async fn differences_among_callers(server: &TestServer, zoo: &Path, models: &[String]) -> Vec<String> {
    let mut joined = Vec::new();
    for name in models {
        let details = server.send(Request::get(&format!("/models/{name}"))).await.json();
        // Where rows depend on each other, a part of the rows has another answer.
        if details["joins_requests"] == true {
            let rows = read(&zoo.join(format!("{name}.request.json")));
            let expected = read(&zoo.join(format!("{name}.expected.json")));
            joined.push(Joined { name: name.clone(), rows, expected });
        }
    }
    assert!(joined.len() >= 12, "only {} models of the zoo join requests", joined.len());
    let before = calls(server).await;
    let joined = Arc::new(joined);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (endpoint, joined) = (Endpoint::clone(server), joined.clone());
            tokio::spawn(async move {
                let mut connection = endpoint.connect().await;
                let mut problems = Vec::new();
                for turn in 0..REQUESTS {
                    // Neighbours ask the same model, so that their rows meet.
                    let model = &joined[(caller / 8 + turn) % joined.len()];
                    let first = (caller * REQUESTS + turn) % (model.rows.len() - 3);
                    let rows = &model.rows[first..=first + turn % 3];
                    let bad = (caller + turn).is_multiple_of(BAD_EVERY);
                    let body = if bad { spoilt(rows, turn) } else { serde_json::to_vec(rows).expect("JSON") };
                    let reply = connection.send(&endpoint.authorised(Request::predict(&model.name, body))).await;
                    match (bad, reply.status) {
                        // A level that only R can refuse is R's own error; some models take it.
                        (true, 200 | 422 | 500) => {}
                        (false, 200) => {
                            let found =
                                differences(&model.name, &model.expected, &reply.predictions(), first, rows.len());
                            problems.extend(found);
                        }
                        (_, status) => problems.push(format!("{}: {status} {}", model.name, reply.text())),
                    }
                }
                problems
            })
        })
        .collect();
    let mut problems = Vec::new();
    for caller in callers {
        problems.extend(caller.await.expect("a caller that ends"));
    }
    let made = calls(server).await - before;
    assert!(made < (CALLERS * REQUESTS) as f64, "{made} calls: requests of different callers did not meet");
    problems
}

/// Calls of R that scored something so far.
async fn calls(server: &TestServer) -> f64 {
    server.metrics().await.sum("rscore_batch_rows_count", &[])
}

/// The rows with a value in the first that no schema takes, or a level that nobody knows.
fn spoilt(rows: &[Value], turn: usize) -> Vec<u8> {
    let mut rows = rows.to_vec();
    if let Some(first) = rows[0].as_object_mut() {
        let text = first.values().position(Value::is_string);
        match (turn.is_multiple_of(2), text) {
            (true, Some(position)) => {
                if let Some(value) = first.values_mut().nth(position) {
                    *value = Value::from("a level that nobody knows");
                }
            }
            _ => {
                first.insert("a column that nobody knows".to_owned(), Value::from(1));
            }
        }
    }
    serde_json::to_vec(&rows).expect("JSON")
}
