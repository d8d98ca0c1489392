//! A scripted engine for tests of what surrounds R. It knows the behaviours of
//! the conformance bundle and nothing else.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array, RecordBatch};

use rscore::error::Condition;
use rscore::frame::schema::Inputs;
use rscore::worker::engine::{Engine, Outcome};
use rscore::worker::protocol::{LoadRequest, LoadedModel, Predictions};

/// Does what the column `what` of the first row says to the column `x`.
#[derive(Debug, Default)]
pub struct FakeEngine;

impl Engine for FakeEngine {
    fn load(&mut self, _request: &LoadRequest) -> Result<LoadedModel, Condition> {
        Ok(LoadedModel {
            class: vec!["fake".to_owned()],
            packages: Vec::new(),
            r_version: "0.0.0".to_owned(),
            columns: None,
            warnings: Vec::new(),
        })
    }

    fn after_fork(&mut self, _workers: u32) {}

    fn score(&mut self, inputs: &Inputs<RecordBatch>) -> Outcome {
        let mut warnings = Vec::new();
        let mut retire = false;
        let result = match inputs.as_single() {
            None => Err(error("several inputs")),
            Some(batch) => {
                let what = batch.column_by_name("what").and_then(|what| what.as_string_opt::<i32>());
                let what = what.filter(|what| !what.is_empty()).map_or("double", |what| what.value(0));
                match what {
                    "stop" => Err(error("you asked for it")),
                    "recurse" => {
                        retire = true;
                        Err(error("nested too deeply"))
                    }
                    "drop" => Ok(predictions(&doubled(batch)[1..])),
                    what => {
                        if what == "warn" {
                            warnings.push("mind the gap".to_owned());
                        }
                        Ok(predictions(&doubled(batch)))
                    }
                }
            }
        };
        Outcome {
            result,
            warnings,
            retire,
            collections: 0,
            convert: Duration::from_nanos(1),
            score: Duration::from_nanos(1),
        }
    }
}

fn doubled(batch: &RecordBatch) -> Vec<Option<f64>> {
    let x = batch.column_by_name("x").and_then(|x| x.as_primitive_opt::<Float64Type>());
    x.map(|x| x.iter().map(|value| value.map(|value| value * 2.0)).collect()).unwrap_or_default()
}

fn predictions(values: &[Option<f64>]) -> Predictions {
    let column: Arc<Float64Array> = Arc::new(values.iter().copied().collect());
    let batch = RecordBatch::try_from_iter([("prediction", column as _)]).expect("one column is a table");
    Predictions { batch, unnamed: true }
}

fn error(message: &str) -> Condition {
    Condition {
        class: vec!["simpleError".to_owned(), "error".to_owned(), "condition".to_owned()],
        message: message.to_owned(),
        call: Some("score(model, data)".to_owned()),
    }
}
