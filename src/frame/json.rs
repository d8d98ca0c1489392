//! The JSON codec of the native door: bytes to typed columns without a tree in
//! between, and columns to bytes.

use arrow_array::RecordBatch;

use super::schema::{InputSchemas, Inputs};
use crate::error::Result;

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions {
    /// Most rows of any input.
    pub max_rows: usize,
    /// Accept the strings `NaN`, `Infinity` and `-Infinity` in double columns.
    pub non_finite_strings: bool,
}

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// One record batch per input of the model, columns in the schema's order.
    pub inputs: Inputs<RecordBatch>,
    /// For the answer's `warnings`: for example columns that were ignored.
    pub warnings: Vec<String>,
}

/// How NaN and the infinities are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonFinite {
    /// As `null`.
    #[default]
    Null,
    /// As the strings `NaN`, `Infinity` and `-Infinity`.
    String,
}

/// Reads records, columns, split or named inputs.
pub fn decode(_body: &[u8], _schemas: &InputSchemas, _options: DecodeOptions) -> Result<Decoded> {
    todo!()
}

/// Appends the predictions as one JSON array to `out`: plain values for an unnamed
/// column, else one object per row.
pub fn encode_predictions(
    _batch: &RecordBatch,
    _unnamed: bool,
    _non_finite: NonFinite,
    _out: &mut Vec<u8>,
) -> Result<()> {
    todo!()
}
