//! Predictions to JSON, row by row straight into the answer's buffer.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;
use serde::Serialize;

use super::NonFinite;
use crate::error::{Error, Result};
use crate::frame::cells::{Cell, Cells};
use crate::frame::stream::{EncodeOptions, Encoder, check_columns, no_header};
use crate::frame::temporal;

/// Appends the predictions as one JSON array to `out`: plain values for an unnamed
/// column, else one object per row. Doubles are the shortest decimals that read back
/// to the same double.
///
/// # Errors
///
/// [`Kind::Internal`](crate::error::Kind::Internal) for a column of a type that no prediction has,
/// or for an unnamed batch of other than one column; `out` is then as it was.
pub fn encode_predictions(batch: &RecordBatch, unnamed: bool, non_finite: NonFinite, out: &mut Vec<u8>) -> Result<()> {
    let mut encoder = JsonArrayEncoder::new(EncodeOptions { unnamed, non_finite });
    let start = out.len();
    encoder.header(batch.schema_ref(), out)?;
    encoder.encode(batch, out).inspect_err(|_| out.truncate(start))?;
    encoder.finish(out)
}

/// Writes rows as one JSON array.
pub struct JsonArrayEncoder {
    options: EncodeOptions,
    columns: Option<Arc<ArrowSchema>>,
    is_first: bool,
}

/// Writes rows as one JSON value per line (NDJSON).
pub struct LinesEncoder {
    options: EncodeOptions,
    columns: Option<Arc<ArrowSchema>>,
}

impl JsonArrayEncoder {
    /// An encoder that has written nothing.
    pub fn new(options: EncodeOptions) -> Self {
        Self { options, columns: None, is_first: true }
    }
}

impl LinesEncoder {
    /// An encoder that has written nothing.
    pub fn new(options: EncodeOptions) -> Self {
        Self { options, columns: None }
    }
}

impl Encoder for JsonArrayEncoder {
    fn header(&mut self, schema: &Arc<ArrowSchema>, out: &mut Vec<u8>) -> Result<()> {
        self.columns = Some(Arc::clone(schema));
        out.push(b'[');
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows = Rows::new(batch, self.columns.as_deref(), self.options)?;
        for row in 0..batch.num_rows() {
            if !std::mem::take(&mut self.is_first) {
                out.push(b',');
            }
            rows.write(row, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.push(b']');
        Ok(())
    }
}

impl Encoder for LinesEncoder {
    fn header(&mut self, schema: &Arc<ArrowSchema>, _: &mut Vec<u8>) -> Result<()> {
        self.columns = Some(Arc::clone(schema));
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows = Rows::new(batch, self.columns.as_deref(), self.options)?;
        for row in 0..batch.num_rows() {
            rows.write(row, out)?;
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// The rows of a batch as JSON values.
struct Rows<'a> {
    columns: Vec<Cells<'a>>,
    /// What stands before the value of each column; none for an unnamed column.
    keys: Option<Vec<Vec<u8>>>,
    non_finite: NonFinite,
}

impl<'a> Rows<'a> {
    /// Rows that are bare values when the column is unnamed, else objects with the
    /// columns of the `header`.
    ///
    /// # Errors
    /// As for [`encode_predictions`], and when the columns are others.
    fn new(batch: &'a RecordBatch, header: Option<&ArrowSchema>, options: EncodeOptions) -> Result<Self> {
        let EncodeOptions { unnamed, non_finite } = options;
        check_columns(batch, header.ok_or_else(no_header)?)?;
        let columns = batch.columns().iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>>>()?;
        if unnamed && columns.len() != 1 {
            return Err(Error::internal(format!("unnamed predictions with {} columns", columns.len())));
        }
        let fields = batch.schema_ref().fields().iter().enumerate();
        let keys = fields.map(|(position, field)| key(position, field.name()));
        let keys = if unnamed { None } else { Some(keys.collect::<Result<Vec<_>>>()?) };
        Ok(Self { columns, keys, non_finite })
    }

    /// Appends one row.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when serde refuses, which it has no reason to.
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let Some(keys) = &self.keys else {
            return self.columns.iter().try_for_each(|cells| write(cells.get(row), self.non_finite, out));
        };
        if keys.is_empty() {
            out.push(b'{');
        }
        for (key, cells) in keys.iter().zip(&self.columns) {
            out.extend_from_slice(key);
            write(cells.get(row), self.non_finite, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

#[inline]
fn write(cell: Cell<'_>, non_finite: NonFinite, out: &mut Vec<u8>) -> Result<()> {
    match cell {
        Cell::Double(value) if value.is_finite() => return json(&value, out),
        Cell::Double(value) if non_finite == NonFinite::String => out.extend_from_slice(match value {
            f64::INFINITY => br#""Infinity""#,
            f64::NEG_INFINITY => br#""-Infinity""#,
            _ => br#""NaN""#,
        }),
        Cell::Missing | Cell::Double(_) => out.extend_from_slice(b"null"),
        Cell::Integer(value) => return json(&value, out),
        Cell::Logical(value) => return json(&value, out),
        Cell::Text(value) => return json(value, out),
        Cell::Date(days) => quoted(out, |out| temporal::write_date(days, out)),
        Cell::Timestamp(microseconds) => quoted(out, |out| temporal::write_timestamp(microseconds, out)),
    }
    Ok(())
}

/// What stands before the value of a column in every row.
fn key(position: usize, name: &str) -> Result<Vec<u8>> {
    let mut key = vec![if position == 0 { b'{' } else { b',' }];
    json(name, &mut key)?;
    key.push(b':');
    Ok(key)
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

#[inline]
fn json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(Error::internal)
}
