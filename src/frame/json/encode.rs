//! Predictions to JSON, row by row straight into the answer's buffer.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use serde::Serialize;

use super::NonFinite;
use crate::error::{Error, Result};
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
    let columns = batch.columns().iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>>>()?;
    if unnamed {
        let [cells] = columns.as_slice() else {
            return Err(Error::internal(format!("unnamed predictions with {} columns", columns.len())));
        };
        return array(batch.num_rows(), out, |row, out| cells.write(row, non_finite, out));
    }
    let keys = (batch.schema_ref().fields().iter().enumerate())
        .map(|(position, field)| key(position, field.name()))
        .collect::<Result<Vec<_>>>()?;
    array(batch.num_rows(), out, |row, out| {
        if columns.is_empty() {
            out.push(b'{');
        }
        for (key, cells) in keys.iter().zip(&columns) {
            out.extend_from_slice(key);
            cells.write(row, non_finite, out)?;
        }
        out.push(b'}');
        Ok(())
    })
}

/// A column as the array type that it is.
enum Cells<'a> {
    Double(&'a Float64Array),
    Integer(&'a Int32Array),
    Logical(&'a BooleanArray),
    Text(&'a StringArray),
    Level(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
}

impl<'a> Cells<'a> {
    fn new(array: &'a dyn Array) -> Result<Self> {
        let unknown = || Error::internal(format!("predictions of the Arrow type {}", array.data_type()));
        Ok(match array.data_type() {
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>()),
            DataType::Int32 => Self::Integer(array.as_primitive::<Int32Type>()),
            DataType::Boolean => Self::Logical(array.as_boolean()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(unknown)?;
                Self::Level(dictionary, dictionary.values().as_string_opt().ok_or_else(unknown)?)
            }
            _ => return Err(unknown()),
        })
    }

    #[inline]
    fn write(&self, row: usize, non_finite: NonFinite, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Double(array) if array.is_valid(row) => {
                let value = array.value(row);
                if value.is_finite() {
                    return json(&value, out);
                }
                if non_finite == NonFinite::Null {
                    out.extend_from_slice(b"null");
                    return Ok(());
                }
                let text: &[u8] = match value {
                    f64::INFINITY => br#""Infinity""#,
                    f64::NEG_INFINITY => br#""-Infinity""#,
                    _ => br#""NaN""#,
                };
                out.extend_from_slice(text);
            }
            Self::Integer(array) if array.is_valid(row) => return json(&array.value(row), out),
            Self::Logical(array) if array.is_valid(row) => return json(&array.value(row), out),
            Self::Text(array) if array.is_valid(row) => return json(array.value(row), out),
            Self::Level(array, levels) if array.is_valid(row) => {
                let level = usize::try_from(array.keys().value(row)).map_err(Error::internal)?;
                if levels.is_valid(level) {
                    return json(levels.value(level), out);
                }
                out.extend_from_slice(b"null");
            }
            Self::Date(array) if array.is_valid(row) => {
                quoted(out, |out| temporal::write_date(array.value(row), out));
            }
            Self::Timestamp(array) if array.is_valid(row) => {
                quoted(out, |out| temporal::write_timestamp(array.value(row), out));
            }
            _ => out.extend_from_slice(b"null"),
        }
        Ok(())
    }
}

fn array(rows: usize, out: &mut Vec<u8>, mut element: impl FnMut(usize, &mut Vec<u8>) -> Result<()>) -> Result<()> {
    out.push(b'[');
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        element(row, out)?;
    }
    out.push(b']');
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
