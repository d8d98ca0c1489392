//! Cells of record batches as the encoders write them: every Arrow type that the
//! columns of a model or its predictions have.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};

use crate::error::{Error, Result};

/// A column as the array type that it is.
pub(crate) enum Cells<'a> {
    Double(&'a Float64Array),
    Integer(&'a Int32Array),
    Logical(&'a BooleanArray),
    Text(&'a StringArray),
    Level(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
}

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    /// NA.
    Missing,
    Double(f64),
    Integer(i32),
    Logical(bool),
    Text(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl<'a> Cells<'a> {
    /// The cells of a column.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) for a type that no
    /// prediction has.
    pub(crate) fn new(array: &'a dyn Array) -> Result<Self> {
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

    /// The cell of a row.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Cell<'a> {
        match *self {
            Self::Double(array) if array.is_valid(row) => Cell::Double(array.value(row)),
            Self::Integer(array) if array.is_valid(row) => Cell::Integer(array.value(row)),
            Self::Logical(array) if array.is_valid(row) => Cell::Logical(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Self::Level(array, levels) if array.is_valid(row) => {
                // An array's keys were checked against its values when it was made.
                let level = array.keys().value(row) as usize;
                if levels.is_valid(level) { Cell::Text(levels.value(level)) } else { Cell::Missing }
            }
            Self::Date(array) if array.is_valid(row) => Cell::Date(array.value(row)),
            Self::Timestamp(array) if array.is_valid(row) => Cell::Timestamp(array.value(row)),
            _ => Cell::Missing,
        }
    }
}
