//! Record batches to data frames and back, without a copy in between: Arrow's
//! buffers are written into R's vectors, R's vectors into Arrow's buffers.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int32Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, DictionaryArray, Float64Array, Int32Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::ffi::{Kind, NA_INTEGER, NA_REAL, Object, Runtime, condition, is_na};
use crate::error::Condition;
use crate::frame::schema::{Inputs, ORDERED_KEY};

const MICROSECONDS: f64 = 1e6;

/// The argument of `score()`: a data frame, or a named list of them.
///
/// # Errors
/// A column's type has no R counterpart, or R is out of memory.
pub fn inputs_to_r(runtime: &Runtime, inputs: &Inputs<RecordBatch>) -> Result<Object, Condition> {
    if let Some(batch) = inputs.as_single() {
        return data_frame(runtime, batch);
    }
    let frames = inputs
        .iter()
        .map(|(name, batch)| Ok((name, data_frame(runtime, batch)?)))
        .collect::<Result<Vec<_>, Condition>>()?;
    runtime.list(&frames)
}

/// A data frame is a list of columns with three attributes; building it so takes
/// microseconds where R's `data.frame()` takes most of a millisecond.
fn data_frame(runtime: &Runtime, batch: &RecordBatch) -> Result<Object, Condition> {
    let columns = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| Ok((field.name().as_str(), vector(runtime, field, array)?)))
        .collect::<Result<Vec<_>, Condition>>()?;
    let frame = runtime.list(&columns)?;
    let rows = i32::try_from(batch.num_rows())
        .map_err(|_| condition("rscore_too_many_rows", "a data frame holds at most 2^31-1 rows".to_owned()))?;
    // R's compact form of the row names 1..n.
    let mut row_names = runtime.integer_of_length(2)?;
    row_names.integers_mut().copy_from_slice(&[NA_INTEGER, -rows]);
    frame.set_attribute(c"row.names", &row_names)?;
    frame.set_attribute(c"class", &runtime.character(&["data.frame"])?)?;
    Ok(frame)
}

fn vector(runtime: &Runtime, field: &Field, array: &ArrayRef) -> Result<Object, Condition> {
    let length = array.len();
    match array.data_type() {
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            let mut vector = runtime.double_of_length(length)?;
            let target = vector.doubles_mut();
            target.copy_from_slice(array.values());
            if array.null_count() > 0 {
                for (index, slot) in target.iter_mut().enumerate() {
                    if array.is_null(index) {
                        *slot = NA_REAL;
                    }
                }
            }
            Ok(vector)
        }
        DataType::Int32 => integers(runtime, array.as_primitive::<Int32Type>(), 0),
        DataType::Boolean => {
            let array = array.as_boolean();
            let values: Vec<Option<bool>> = array.iter().collect();
            runtime.logical(&values)
        }
        DataType::Utf8 => runtime.optional_character(array.as_string::<i32>().iter()),
        DataType::Dictionary(_, _) => {
            let array = array.as_dictionary_opt::<Int32Type>().ok_or_else(|| unsupported(field))?;
            let levels = array.values().as_string_opt::<i32>().ok_or_else(|| unsupported(field))?;
            // R counts levels from 1.
            let vector = integers(runtime, array.keys(), 1)?;
            vector.set_attribute(c"levels", &runtime.optional_character(levels.iter())?)?;
            let class: &[&str] =
                if field.metadata().contains_key(ORDERED_KEY) { &["ordered", "factor"] } else { &["factor"] };
            vector.set_attribute(c"class", &runtime.character(class)?)?;
            Ok(vector)
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            let vector = doubles(runtime, array.len(), array.iter().map(|day| day.map(f64::from)))?;
            vector.set_attribute(c"class", &runtime.character(&["Date"])?)?;
            Ok(vector)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            // Below 2^53 microseconds (285 years around 1970) the division rounds
            // once, so R sees the double that is nearest to the decimal.
            let seconds = array.iter().map(|time| time.map(|time| time as f64 / MICROSECONDS));
            let vector = doubles(runtime, array.len(), seconds)?;
            vector.set_attribute(c"class", &runtime.character(&["POSIXct", "POSIXt"])?)?;
            vector.set_attribute(c"tzone", &runtime.character(&["UTC"])?)?;
            Ok(vector)
        }
        _ => Err(unsupported(field)),
    }
}

fn doubles(runtime: &Runtime, length: usize, values: impl Iterator<Item = Option<f64>>) -> Result<Object, Condition> {
    let mut vector = runtime.double_of_length(length)?;
    for (slot, value) in vector.doubles_mut().iter_mut().zip(values) {
        *slot = value.unwrap_or(NA_REAL);
    }
    Ok(vector)
}

fn integers(runtime: &Runtime, array: &Int32Array, offset: i32) -> Result<Object, Condition> {
    let mut vector = runtime.integer_of_length(array.len())?;
    for (slot, value) in vector.integers_mut().iter_mut().zip(array.iter()) {
        *slot = value.map_or(NA_INTEGER, |value| value + offset);
    }
    Ok(vector)
}

fn unsupported(field: &Field) -> Condition {
    condition(
        "rscore_unsupported_type",
        format!("column '{}' has type {}, which has no R counterpart here", field.name(), field.data_type()),
    )
}

/// The `columns` of a reply of `bootstrap.R` as a record batch of `rows` rows.
///
/// # Errors
/// A column is of a kind that `bootstrap.R` should have refused.
pub fn columns_from_r(reply: &Object) -> Result<RecordBatch, Condition> {
    let columns = reply
        .get("columns")
        .ok_or_else(|| condition("rscore_bad_reply", "score_inputs() returned no columns".to_owned()))?;
    let rows = reply.get("rows").and_then(|rows| rows.integers().first().copied()).unwrap_or(0);
    let (names, columns) = (columns.names(), columns.elements());
    if names.len() != columns.len() {
        let text = format!("the result has {} columns and {} names", columns.len(), names.len());
        return Err(condition("rscore_bad_reply", text));
    }
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, column) in names.into_iter().zip(columns) {
        let name =
            name.ok_or_else(|| condition("rscore_bad_reply", "a column of the result has no name".to_owned()))?;
        let (field, array) = array(&name, &column)?;
        fields.push(field);
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(usize::try_from(rows).ok());
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| condition("rscore_bad_reply", format!("the result is not a table: {error}")))
}

fn array(name: &str, column: &Object) -> Result<(Field, ArrayRef), Condition> {
    let class = column.attribute(c"class").map(|class| class.strings()).unwrap_or_default();
    let is = |wanted: &str| class.iter().any(|class| class == wanted);
    let array: ArrayRef = match column.kind() {
        Kind::Integer if is("factor") => Arc::new(factor(column)?),
        Kind::Double if is("Date") => Arc::new(dates(column.doubles())),
        Kind::Double if is("POSIXct") => Arc::new(timestamps(column.doubles())),
        Kind::Double => {
            let values = column.doubles();
            Arc::new(Float64Array::from_iter(values.iter().map(|value| (!is_na(*value)).then_some(*value))))
        }
        Kind::Integer => {
            let mut builder = Int32Builder::with_capacity(column.len());
            for value in column.integers() {
                builder.append_option((*value != NA_INTEGER).then_some(*value));
            }
            Arc::new(builder.finish())
        }
        Kind::Logical => {
            let mut builder = BooleanBuilder::with_capacity(column.len());
            for value in column.integers() {
                builder.append_option((*value != NA_INTEGER).then_some(*value != 0));
            }
            Arc::new(builder.finish())
        }
        Kind::Character => {
            let mut builder = StringBuilder::new();
            for value in column.optional_strings() {
                builder.append_option(value);
            }
            Arc::new(builder.finish())
        }
        Kind::Null | Kind::List | Kind::Other => {
            return Err(condition("rscore_bad_reply", format!("column '{name}' of the result is not a vector")));
        }
    };
    let mut field = Field::new(name, array.data_type().clone(), true);
    if is("ordered") {
        field = field.with_metadata([(ORDERED_KEY.to_owned(), "true".to_owned())]);
    }
    Ok((field, array))
}

/// A level may be NA, as of `addNA()`: what has it is missing.
fn factor(column: &Object) -> Result<DictionaryArray<Int32Type>, Condition> {
    let levels = column.attribute(c"levels").map(|levels| levels.optional_strings()).unwrap_or_default();
    let mut named = 0..;
    let keys: Vec<Option<i32>> = levels.iter().map(|level| level.as_ref().and_then(|_| named.next())).collect();
    let key = |code: i32| {
        if code == NA_INTEGER {
            return None;
        }
        let position = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
        // The key of a level that isn't there is refused below.
        position.and_then(|position| keys.get(position).copied()).unwrap_or(Some(-1))
    };
    let keys = Int32Array::from_iter(column.integers().iter().map(|code| key(*code)));
    let levels: Vec<String> = levels.into_iter().flatten().collect();
    DictionaryArray::try_new(keys, Arc::new(StringArray::from(levels)))
        .map_err(|error| condition("rscore_bad_reply", format!("a factor of the result is damaged: {error}")))
}

/// Days since 1970; a fraction of a day is cut off, as R prints it.
fn dates(values: &[f64]) -> Date32Array {
    values.iter().map(|value| value.is_finite().then(|| value.floor() as i32)).collect()
}

/// Seconds since 1970, to the nearest microsecond.
fn timestamps(values: &[f64]) -> TimestampMicrosecondArray {
    values
        .iter()
        .map(|value| value.is_finite().then(|| (value * MICROSECONDS).round() as i64))
        .collect::<TimestampMicrosecondArray>()
        .with_timezone("UTC")
}
