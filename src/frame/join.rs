//! Joining the rows of several requests into one frame. Factors keep their
//! levels: a general concatenation may drop unused ones or merge dictionaries in
//! another order, and R's factor codes would change their meaning.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType};
use arrow_select::concat::concat;

/// The rows of all batches, in order.
///
/// # Errors
/// No batch, schemas that differ, or factors whose levels differ.
pub fn join(batches: &[&RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let Some(first) = batches.first() else {
        return Err(ArrowError::InvalidArgumentError("there is nothing to join".to_owned()));
    };
    if batches.iter().any(|batch| batch.schema_ref() != first.schema_ref()) {
        return Err(ArrowError::SchemaError("requests of different columns can't be joined".to_owned()));
    }
    let columns = (0..first.num_columns())
        .map(|index| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
            match first.column(index).data_type() {
                DataType::Dictionary(_, _) => join_factors(&arrays),
                _ => concat(&arrays),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rows = batches.iter().map(|batch| batch.num_rows()).sum();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(first.schema(), columns, &options)
}

fn join_factors(arrays: &[&dyn Array]) -> Result<ArrayRef, ArrowError> {
    let unsupported = || ArrowError::SchemaError("a factor without 32-bit codes".to_owned());
    let factors: Vec<&DictionaryArray<Int32Type>> =
        arrays.iter().map(|array| array.as_dictionary_opt().ok_or_else(unsupported)).collect::<Result<_, _>>()?;
    let levels = factors[0].values();
    if factors.iter().any(|factor| !Arc::ptr_eq(factor.values(), levels) && factor.values() != levels) {
        return Err(ArrowError::SchemaError("factors of different levels can't be joined".to_owned()));
    }
    let keys: Vec<&dyn Array> = factors.iter().map(|factor| factor.keys() as &dyn Array).collect();
    let keys: Int32Array = concat(&keys)?.as_primitive().clone();
    Ok(Arc::new(DictionaryArray::try_new(keys, levels.clone())?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use arrow_array::{Float64Array, StringArray};

    use super::*;

    fn batch(numbers: &[Option<f64>], codes: &[Option<i32>], levels: &[&str]) -> RecordBatch {
        let levels = Arc::new(StringArray::from(levels.to_vec()));
        let factor = DictionaryArray::<Int32Type>::try_new(codes.iter().copied().collect(), levels).unwrap();
        RecordBatch::try_from_iter_with_nullable([
            ("x", Arc::new(numbers.iter().copied().collect::<Float64Array>()) as ArrayRef, true),
            ("f", Arc::new(factor) as ArrayRef, true),
        ])
        .unwrap()
    }

    #[test]
    fn rows_follow_each_other_and_levels_stay() {
        let levels = ["low", "unused", "high"];
        let a = batch(&[Some(1.0), None], &[Some(2), None], &levels);
        let b = batch(&[Some(f64::NAN)], &[Some(0)], &levels);
        let joined = join(&[&a, &b]).unwrap();
        assert_eq!(joined.slice(0, 2), a);
        assert_eq!(joined.slice(2, 1), b);
        let factor = joined.column(1).as_dictionary::<Int32Type>();
        assert_eq!(factor.values().len(), 3, "the unused level is still there");
    }

    #[test]
    fn different_levels_are_not_joined() {
        let a = batch(&[Some(1.0)], &[Some(0)], &["a", "b"]);
        let b = batch(&[Some(1.0)], &[Some(0)], &["b", "a"]);
        assert!(join(&[&a, &b]).is_err());
        assert!(join(&[]).is_err());
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let options = RecordBatchOptions::new().with_row_count(Some(2));
        let empty = Arc::new(arrow_schema::Schema::empty());
        let batch = RecordBatch::try_new_with_options(empty, Vec::new(), &options).unwrap();
        assert_eq!(join(&[&batch, &batch]).unwrap().num_rows(), 4);
    }
}
