//! The proof that a model's rows don't depend on each other: sample rows scored
//! together, in another order, and one by one must give the same bits. Without
//! it requests are never joined.

use arrow_array::{RecordBatch, UInt32Array};
use serde::Serialize;

use super::workers::ScoringWorker;
use crate::error::Condition;
use crate::frame::schema::Inputs;
use crate::pool::WorkerLost;
use crate::worker::protocol::{Predictions, ScoreCall};

/// Rows that a proof uses.
pub const PROOF_ROWS: usize = 16;

/// What a proof found, or an audit since; said in metadata, in the log and by `rscore check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RowIndependence {
    /// Requests are joined: so many rows gave the same alone and together.
    Proved {
        /// Rows of the proof.
        rows: usize,
        /// Whether they were made up from the schema, for want of a sample.
        made_up: bool,
    },
    /// Requests are not joined any more: an audit found that it was not so after all.
    Refuted {
        /// What it found, in a sentence.
        reason: String,
    },
    /// Requests are not joined, because the manifest says so.
    Denied,
    /// Requests are not joined, because the proof failed or was impossible.
    NotProved {
        /// Why, in a sentence.
        reason: String,
    },
}

impl RowIndependence {
    /// Whether rows of different requests may share a call.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Proved { .. })
    }
}

/// Scores `rows` together, reversed, and one by one; says where they differ.
///
/// # Errors
/// The worker was lost.
pub async fn prove(worker: &mut impl ScoringWorker, rows: &RecordBatch) -> Result<Result<(), String>, WorkerLost> {
    let together = match score(worker, rows.clone()).await? {
        Ok(predictions) => predictions.batch,
        Err(condition) => return Ok(Err(format!("the rows can't be scored together: {}", condition.message))),
    };
    if together.num_rows() != rows.num_rows() {
        return Ok(Err(format!("{} rows gave {} predictions", rows.num_rows(), together.num_rows())));
    }
    let count = rows.num_rows();
    let backwards: UInt32Array = (0..u32::try_from(count).unwrap_or(0)).rev().collect();
    let reversed = arrow_select::take::take_record_batch(rows, &backwards)
        .and_then(|reversed| Ok((reversed, arrow_select::take::take_record_batch(&together, &backwards)?)));
    let (reversed, expected) = match reversed {
        Ok(pair) => pair,
        Err(error) => return Ok(Err(format!("the rows can't be put in another order: {error}"))),
    };
    match score(worker, reversed).await? {
        Ok(predictions) if same(&predictions.batch, &expected) => {}
        Ok(_) => return Ok(Err("the same rows in another order gave other predictions".to_owned())),
        Err(condition) => return Ok(Err(format!("the rows in another order failed: {}", condition.message))),
    }
    same_alone(worker, rows, &together).await
}

/// Scores each row alone and compares with what it got among others.
///
/// # Errors
/// The worker was lost.
pub async fn same_alone(
    worker: &mut impl ScoringWorker,
    rows: &RecordBatch,
    together: &RecordBatch,
) -> Result<Result<(), String>, WorkerLost> {
    for row in 0..rows.num_rows() {
        match score(worker, rows.slice(row, 1)).await? {
            Ok(alone) if same(&alone.batch, &together.slice(row, 1)) => {}
            Ok(_) => return Ok(Err(format!("row {row} alone gave another prediction than among others"))),
            Err(condition) => return Ok(Err(format!("row {row} alone failed: {}", condition.message))),
        }
    }
    Ok(Ok(()))
}

async fn score(
    worker: &mut impl ScoringWorker,
    batch: RecordBatch,
) -> Result<Result<Predictions, Condition>, WorkerLost> {
    // Calls of a proof are told apart by the worker's own count.
    let call = ScoreCall { id: worker.calls(), inputs: Inputs::single(batch) };
    Ok(worker.score(&call).await?.outcome)
}

/// Whether two frames hold the same bits: names, types, missing values, and each
/// double as it is stored, so that NaN equals itself and -0 is not 0.
fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    a.schema_ref() == b.schema_ref()
        && a.num_rows() == b.num_rows()
        && a.columns().iter().zip(b.columns()).all(|(a, b)| bits::same(a, b))
}

mod bits {
    //! Comparison of columns by what is stored.

    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use arrow_array::{Array, ArrayRef};

    pub(super) fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
        match (a.as_primitive_opt::<Float64Type>(), b.as_primitive_opt::<Float64Type>()) {
            (Some(a), Some(b)) => a.iter().map(|x| x.map(f64::to_bits)).eq(b.iter().map(|x| x.map(f64::to_bits))),
            // Arrow compares everything else by value, factors by their levels.
            _ => a.data_type() == b.data_type() && a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::Float64Array;

    use super::*;

    fn frame(values: &[Option<f64>]) -> RecordBatch {
        let column: Float64Array = values.iter().copied().collect();
        RecordBatch::try_from_iter_with_nullable([("p", Arc::new(column) as _, true)]).unwrap()
    }

    #[test]
    fn bits_are_compared() {
        let nan = frame(&[Some(f64::NAN), None, Some(1.0)]);
        assert!(same(&nan, &nan.clone()));
        assert!(!same(&frame(&[Some(0.0)]), &frame(&[Some(-0.0)])));
        assert!(!same(&frame(&[Some(f64::NAN)]), &frame(&[None])));
        assert!(!same(&frame(&[Some(1.0)]), &frame(&[Some(1.0 + f64::EPSILON)])));
        assert!(same(&nan.slice(2, 1), &frame(&[Some(1.0)])));
    }
}
