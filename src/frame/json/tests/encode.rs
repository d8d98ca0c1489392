//! Predictions to JSON.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};

use super::*;

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .expect("the columns have one length")
}

fn doubles(values: Vec<Option<f64>>) -> RecordBatch {
    table(vec![("x", Arc::new(Float64Array::from(values)))])
}

#[test]
fn doubles_are_the_shortest_that_read_back() {
    let values = [0.1, 1.0, -0.0, 1e21, 5e-324, f64::MAX, 100.0 / 3.0, 123456789012345680.0];
    let text = encoded(&doubles(values.iter().map(|value| Some(*value)).collect()), true, NonFinite::Null);
    assert_eq!(text, "[0.1,1.0,-0.0,1e+21,5e-324,1.7976931348623157e+308,33.333333333333336,1.2345678901234568e+17]");
}

#[test]
fn what_is_not_finite_is_null_or_a_string() {
    let batch = doubles(vec![Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None, Some(1.5)]);
    assert_eq!(encoded(&batch, true, NonFinite::Null), "[null,null,null,null,1.5]");
    assert_eq!(encoded(&batch, true, NonFinite::String), r#"["NaN","Infinity","-Infinity",null,1.5]"#);
    assert_eq!(encoded(&batch.slice(4, 1), true, NonFinite::Null), "[1.5]");
}

#[test]
fn every_type_has_its_form() {
    let levels = StringArray::from(vec![Some("no"), Some("y\"es"), None]);
    let factor = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![Some(1), None, Some(2)]), Arc::new(levels));
    let batch = table(vec![
        ("d \"1\"", Arc::new(Float64Array::from(vec![Some(0.5), None, Some(2.0)]))),
        ("i", Arc::new(Int32Array::from(vec![Some(-1), None, Some(2)]))),
        ("l", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("s", Arc::new(StringArray::from(vec![Some("a\nä"), None, Some("")]))),
        ("f", Arc::new(factor)),
        ("day", Arc::new(Date32Array::from(vec![Some(19_782), None, Some(-1)]))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_709_210_096_120_000), None, Some(0)]).with_timezone("UTC"),
            ),
        ),
    ]);
    assert_eq!(
        encoded(&batch, false, NonFinite::Null),
        concat!(
            r#"[{"d \"1\"":0.5,"i":-1,"l":true,"s":"a\nä","f":"y\"es","day":"2024-02-29","at":"2024-02-29T12:34:56.12Z"},"#,
            r#"{"d \"1\"":null,"i":null,"l":null,"s":null,"f":null,"day":null,"at":null},"#,
            r#"{"d \"1\"":2.0,"i":2,"l":false,"s":"","f":null,"day":"1969-12-31","at":"1970-01-01T00:00:00Z"}]"#
        )
    );
}

#[test]
fn the_answer_is_appended_and_always_an_array() {
    let mut out = b"{\"predictions\":".to_vec();
    encode_predictions(&doubles(vec![Some(1.0)]), true, NonFinite::Null, &mut out).expect("doubles can be written");
    assert_eq!(out, b"{\"predictions\":[1.0]");
    assert_eq!(encoded(&doubles(vec![]), true, NonFinite::Null), "[]");
    assert_eq!(encoded(&doubles(vec![]), false, NonFinite::Null), "[]");
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let empty = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::empty()), vec![], &options)
        .expect("a batch may have no columns");
    assert_eq!(encoded(&empty, false, NonFinite::Null), "[{},{}]");
}

#[test]
fn other_types_are_our_mistake_and_write_nothing() {
    let long = table(vec![("x", Arc::new(Int64Array::from(vec![1])))]);
    let local = table(vec![("x", Arc::new(TimestampMicrosecondArray::from(vec![1])))]);
    let two = table(vec![("x", Arc::new(Int32Array::from(vec![1]))), ("y", Arc::new(Int32Array::from(vec![1])))]);
    for batch in [long, local, two] {
        let mut out = b"before".to_vec();
        let error =
            encode_predictions(&batch, true, NonFinite::Null, &mut out).expect_err("no prediction is like this");
        assert_eq!(error.kind(), &Kind::Internal);
        assert_eq!(out, b"before");
    }
}
