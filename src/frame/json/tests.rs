//! What the codec promises, in both directions.

mod encode;
mod forms;
mod limits;
mod lines;
mod malformed;
mod misfits;
mod properties;
mod types;

use arrow_array::RecordBatch;

use super::{DecodeOptions, Decoded, NonFinite, decode, encode_predictions};
use crate::error::{CellError, Error, Kind};
use crate::frame::schema::{Column, ColumnType, InputSchemas, Inputs, Schema, UnknownColumns};

const OPTIONS: DecodeOptions = DecodeOptions { max_rows: 1000, non_finite_strings: false };

/// A schema of nullable columns that refuses others.
fn schema(columns: &[(&str, ColumnType)]) -> Schema {
    Schema {
        columns: columns.iter().map(|(name, kind)| Column::new(*name, *kind)).collect(),
        unknown_columns: UnknownColumns::Error,
    }
}

/// A model with that one input.
fn single(schema: Schema) -> InputSchemas {
    Inputs::single(schema)
}

/// Columns `x` and `y`, both double.
fn xy() -> InputSchemas {
    single(schema(&[("x", ColumnType::Double), ("y", ColumnType::Double)]))
}

fn read(schemas: &InputSchemas, body: &str) -> Result<Decoded, Error> {
    decode(body.as_bytes(), schemas, OPTIONS)
}

/// The only input of a body that is good.
fn batch(schemas: &InputSchemas, body: &str) -> RecordBatch {
    let decoded = read(schemas, body).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(decoded.warnings, Vec::<String>::new(), "{body}");
    let mut inputs = decoded.inputs.into_iter();
    let (_, batch) = inputs.next().expect("there is one input");
    assert!(inputs.next().is_none(), "there is one input only");
    batch
}

/// The error of a body that is bad.
fn error(schemas: &InputSchemas, body: &str) -> Error {
    match read(schemas, body) {
        Err(error) => error,
        Ok(decoded) => panic!("{body} was read as {decoded:?}"),
    }
}

/// The text of an error about a body that is no good for any schema.
fn malformed(schemas: &InputSchemas, body: &str) -> String {
    let error = error(schemas, body);
    assert_eq!(error.kind(), &Kind::Malformed, "{body}: {error}");
    error.detail().to_owned()
}

/// The misfits of a body, all of which are listed.
fn misfits(schemas: &InputSchemas, body: &str) -> Vec<CellError> {
    let error = error(schemas, body);
    assert_eq!(error.kind(), &Kind::Unprocessable, "{body}: {error}");
    let cells = error.cells().expect("a misfit has cells").clone();
    assert_eq!(cells.count, cells.listed.len(), "{body}");
    cells.listed
}

fn misfit(row: impl Into<Option<usize>>, column: &str, expected: &str, got: &str) -> CellError {
    CellError {
        input: None,
        row: row.into(),
        column: column.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    }
}

/// Predictions as text.
fn encoded(batch: &RecordBatch, unnamed: bool, non_finite: NonFinite) -> String {
    let mut out = Vec::new();
    encode_predictions(batch, unnamed, non_finite, &mut out).expect("the types are those of predictions");
    String::from_utf8(out).expect("JSON is UTF-8")
}
