//! Rows for trying a model out: the sample's rows over again, or rows made from
//! the schema when there is no sample. They exercise; they do not pretend to be
//! likely.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{ArrowError, Schema as ArrowSchema};

use super::schema::{Column, ColumnType, InputSchemas, Inputs, Schema};

/// Day numbers around which made-up dates lie: 2020-01-01 and on.
const FIRST_DAY: i32 = 18_262;

const MICROSECONDS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// `rows` rows that go round through those of `batch`.
///
/// # Errors
/// When `batch` has no rows, or the kernel refuses.
pub fn repeat(batch: &RecordBatch, rows: usize) -> Result<RecordBatch, ArrowError> {
    let available = batch.num_rows();
    if available == 0 {
        return Err(ArrowError::InvalidArgumentError("there is no row to repeat".to_owned()));
    }
    let indices: UInt32Array = (0..rows).map(|row| u32::try_from(row % available).unwrap_or(0)).collect();
    arrow_select::take::take_record_batch(batch, &indices)
}

/// Rows made from the schemas: numbers on both sides of zero and one, levels in
/// turn. `None` when a column's type is not known.
pub fn from_schemas(schemas: &InputSchemas, rows: usize) -> Option<Inputs<RecordBatch>> {
    let frames = schemas.iter().map(|(name, schema)| Some((name.to_owned(), from_schema(schema, rows)?)));
    frames.collect::<Option<Vec<_>>>().map(Inputs::named)
}

fn from_schema(schema: &Schema, rows: usize) -> Option<RecordBatch> {
    let fields = schema.columns.iter().map(Column::field).collect::<Option<Vec<_>>>()?;
    let columns = schema
        .columns
        .iter()
        .enumerate()
        .map(|(position, column)| values(column, position, rows))
        .collect::<Option<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options).ok()
}

fn values(column: &Column, position: usize, rows: usize) -> Option<ArrayRef> {
    // Neighbouring columns and rows differ, so that no two are alike by accident.
    let step = |row: usize| (row * 7 + position * 3) % 11;
    let small = |row: usize| i32::try_from(step(row)).unwrap_or(0);
    Some(match column.kind {
        ColumnType::Double => {
            Arc::new((0..rows).map(|row| Some(step(row) as f64 * 0.75 + 0.25)).collect::<Float64Array>())
        }
        ColumnType::Integer => Arc::new((0..rows).map(|row| Some(small(row))).collect::<Int32Array>()),
        ColumnType::Logical => Arc::new((0..rows).map(|row| Some(step(row) % 2 == 0)).collect::<BooleanArray>()),
        ColumnType::Character => Arc::new(
            (0..rows)
                .map(|row| Some(column.levels.get(step(row) % column.levels.len().max(1)).map_or("a", String::as_str)))
                .collect::<StringArray>(),
        ),
        ColumnType::Factor | ColumnType::Ordered => {
            let levels = i32::try_from(column.levels.len()).ok().filter(|levels| *levels > 0)?;
            let keys = (0..rows).map(|row| Some(small(row) % levels)).collect::<Int32Array>();
            let levels = Arc::new(StringArray::from_iter_values(&column.levels));
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, levels).ok()?)
        }
        ColumnType::Date => Arc::new((0..rows).map(|row| Some(FIRST_DAY + small(row))).collect::<Date32Array>()),
        ColumnType::Timestamp => Arc::new(
            (0..rows)
                .map(|row| Some(i64::from(FIRST_DAY + small(row)) * MICROSECONDS_PER_DAY))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        ColumnType::Any => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn schema() -> Schema {
        let mut columns: Vec<Column> = [
            ColumnType::Double,
            ColumnType::Integer,
            ColumnType::Logical,
            ColumnType::Character,
            ColumnType::Factor,
            ColumnType::Ordered,
            ColumnType::Date,
            ColumnType::Timestamp,
        ]
        .into_iter()
        .map(|kind| Column::new(kind.to_string(), kind))
        .collect();
        columns[4].levels = vec!["a".to_owned(), "b".to_owned()];
        columns[5].levels = vec!["low".to_owned(), "high".to_owned()];
        Schema { columns, ..Schema::default() }
    }

    #[test]
    fn every_known_type_has_values() {
        let inputs = from_schemas(&Inputs::single(schema()), 64).unwrap();
        let batch = inputs.as_single().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (64, 8));
        assert_eq!(batch.column(0).null_count(), 0);
    }

    #[test]
    fn an_unknown_type_has_none() {
        let schema = Schema { columns: vec![Column::new("x", ColumnType::Any)], ..Schema::default() };
        assert!(from_schemas(&Inputs::single(schema), 1).is_none());
    }

    #[test]
    fn rows_go_round() {
        let inputs = from_schemas(&Inputs::single(schema()), 3).unwrap();
        let batch = inputs.as_single().unwrap();
        let repeated = repeat(batch, 7).unwrap();
        assert_eq!(repeated.num_rows(), 7);
        assert_eq!(repeated.slice(3, 3), *batch);
        assert!(repeat(&batch.slice(0, 0), 1).is_err());
    }
}
