//! Rows to CSV that R and others read back: a header, `NA` for missing values,
//! `TRUE` and `FALSE`, the shortest decimals that read back to the same double.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;

use crate::error::{Error, Result};
use crate::frame::cells::{Cell, Cells};
use crate::frame::stream::{Encoder, check_columns, no_header};
use crate::frame::temporal;

/// Writes rows as CSV with `\n` at the end of each line.
#[derive(Debug, Default)]
pub struct CsvEncoder {
    columns: Option<Arc<ArrowSchema>>,
}

impl CsvEncoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder for CsvEncoder {
    fn header(&mut self, schema: &Arc<ArrowSchema>, out: &mut Vec<u8>) -> Result<()> {
        self.columns = Some(Arc::clone(schema));
        for (position, field) in schema.fields().iter().enumerate() {
            separate(position, out);
            text(field.name(), out);
        }
        out.push(b'\n');
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        check_columns(batch, self.columns.as_ref().ok_or_else(no_header)?)?;
        let columns = batch.columns().iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            for (position, cells) in columns.iter().enumerate() {
                separate(position, out);
                write(cells.get(row), out)?;
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

fn separate(position: usize, out: &mut Vec<u8>) {
    if position > 0 {
        out.push(b',');
    }
}

fn write(cell: Cell<'_>, out: &mut Vec<u8>) -> Result<()> {
    match cell {
        Cell::Missing => out.extend_from_slice(b"NA"),
        Cell::Double(value) if value.is_finite() => serde_json::to_writer(out, &value).map_err(Error::internal)?,
        Cell::Double(f64::INFINITY) => out.extend_from_slice(b"Inf"),
        Cell::Double(f64::NEG_INFINITY) => out.extend_from_slice(b"-Inf"),
        Cell::Double(_) => out.extend_from_slice(b"NaN"),
        Cell::Integer(value) => serde_json::to_writer(out, &value).map_err(Error::internal)?,
        Cell::Logical(true) => out.extend_from_slice(b"TRUE"),
        Cell::Logical(false) => out.extend_from_slice(b"FALSE"),
        Cell::Text(value) => text(value, out),
        Cell::Date(days) => temporal::write_date(days, out),
        Cell::Timestamp(microseconds) => temporal::write_timestamp(microseconds, out),
    }
    Ok(())
}

/// Writes a string, in quotes when it could be taken for something else: for
/// several values, a missing one, or one with blanks that don't count.
fn text(value: &str, out: &mut Vec<u8>) {
    let bytes = value.as_bytes();
    let is_plain = value != "NA"
        && !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'))
        && !matches!(bytes.first(), None | Some(b' ' | b'\t'))
        && !matches!(bytes.last(), Some(b' ' | b'\t'));
    if is_plain {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for byte in bytes {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
