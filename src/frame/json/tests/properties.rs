//! Laws that hold for any body and any table.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::frame::schema::UnknownLevel;

/// Any finite double, every bit pattern alike, or null.
fn double() -> impl Strategy<Value = Option<f64>> {
    let finite = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite());
    prop::option::weighted(0.9, finite)
}

/// Rows of three doubles.
fn rows() -> impl Strategy<Value = Vec<[Option<f64>; 3]>> {
    prop::collection::vec([double(), double(), double()], 0..20)
}

fn abc() -> InputSchemas {
    single(schema(&[("a", ColumnType::Double), ("b", ColumnType::Double), ("c", ColumnType::Double)]))
}

fn bits(batch: &RecordBatch) -> Vec<Vec<Option<u64>>> {
    let columns = batch.columns().iter().map(|column| column.as_primitive::<Float64Type>());
    columns.map(|column| column.iter().map(|value| value.map(f64::to_bits)).collect()).collect()
}

/// A batch as encoded, and the same in the other forms.
fn three_forms(batch: &RecordBatch) -> [String; 3] {
    let column = |position| encoded(&batch.project(&[position]).expect("the column exists"), true, NonFinite::Null);
    let columns: Vec<_> = (0..3).map(column).collect();
    let split = |row| {
        let cells: Vec<_> = (0..3)
            .map(|position| {
                let cell = batch.slice(row, 1).project(&[position]).expect("the column exists");
                let text = encoded(&cell, true, NonFinite::Null);
                text.trim_matches(['[', ']']).to_owned()
            })
            .collect();
        format!("[{}]", cells.join(","))
    };
    let split: Vec<_> = (0..batch.num_rows()).map(split).collect();
    [
        encoded(batch, false, NonFinite::Null),
        format!(r#"{{"a":{},"b":{},"c":{}}}"#, columns[0], columns[1], columns[2]),
        format!(r#"{{"columns":["a","b","c"],"data":[{}]}}"#, split.join(",")),
    ]
}

/// Values with keys that mean something to the codec.
fn value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("a"),
        Just("b"),
        Just("f"),
        Just("d"),
        Just("t"),
        Just("columns"),
        Just("data"),
        Just("index"),
        Just("inputs"),
        Just("zz")
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        key.clone().prop_map(Value::from),
        prop_oneof![Just("2024-02-29"), Just("2024-02-29T00:00:00Z"), Just("red"), Just("NaN"), Just("ä\n")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|entries| entries
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

fn schemas() -> Vec<InputSchemas> {
    let factor = Column {
        levels: vec!["red".to_owned()],
        unknown_level: UnknownLevel::Na,
        ..Column::new("f", ColumnType::Factor)
    };
    let mut mixed = schema(&[
        ("a", ColumnType::Double),
        ("b", ColumnType::Integer),
        ("d", ColumnType::Date),
        ("t", ColumnType::Timestamp),
    ]);
    mixed.columns.push(factor);
    let ignoring = Schema { unknown_columns: UnknownColumns::Ignore, ..mixed.clone() };
    vec![
        single(Schema::untyped()),
        single(mixed.clone()),
        single(schema(&[("data", ColumnType::Any), ("index", ColumnType::Any)])),
        Inputs::named(vec![("a".to_owned(), ignoring), ("b".to_owned(), Schema::untyped())]),
    ]
}

/// Rows that a body of records, columns or split has, where that is plain to see.
fn plain_rows(body: &Value) -> Option<usize> {
    match body {
        Value::Array(rows) => Some(rows.len()),
        Value::Object(columns) => match columns.get("data") {
            Some(rows) => rows.as_array().map(Vec::len),
            None => columns.values().next()?.as_array().map(Vec::len),
        },
        _ => None,
    }
}

proptest! {
    #[test]
    fn doubles_survive_every_form_bit_by_bit(rows in rows()) {
        let column = |position: usize| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row[position]).collect::<Float64Array>())
        };
        let sent = RecordBatch::try_from_iter_with_nullable([("a", column(0), true), ("b", column(1), true), ("c", column(2), true)])
            .expect("the columns have one length");
        for body in three_forms(&sent) {
            let read = batch(&abc(), &body);
            prop_assert_eq!(read.num_rows(), rows.len());
            prop_assert_eq!(bits(&read), bits(&sent), "{}", body);
            // What was read is written as it was sent.
            prop_assert_eq!(encoded(&read, false, NonFinite::Null), encoded(&sent, false, NonFinite::Null));
        }
    }

    #[test]
    fn the_forms_of_untyped_data_are_equal(
        rows in prop::collection::vec((double(), any::<Option<bool>>(), prop::option::of("\\PC{0,8}")), 1..10)
    ) {
        let records: Vec<_> = rows.iter().map(|(a, b, c)| json!({"a": a, "b": b, "c": c})).collect();
        let columns = json!({
            "a": rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            "b": rows.iter().map(|row| row.1).collect::<Vec<_>>(),
            "c": rows.iter().map(|row| row.2.clone()).collect::<Vec<_>>(),
        });
        let split = json!({"columns": ["a", "b", "c"], "data": rows});
        let schemas = single(Schema::untyped());
        let read = batch(&schemas, &Value::from(records).to_string());
        prop_assert_eq!(&read, &batch(&schemas, &columns.to_string()));
        prop_assert_eq!(&read, &batch(&schemas, &split.to_string()));
        prop_assert_eq!(read.num_rows(), rows.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        likely in "[\\[\\]{}\":,0-9a-z.eE+\\- \\n]{0,80}",
    ) {
        for schemas in schemas() {
            let _ = (decode(&bytes, &schemas, OPTIONS), decode(likely.as_bytes(), &schemas, OPTIONS));
        }
    }

    #[test]
    fn any_cut_of_a_body_is_refused(end in 0_usize..94) {
        let body = r#"{"index":[0,1],"data":[["a\u00e4",1e20,null,true],[null,-1.5,{},[]]],"columns":["a","b","d","t"]}"#;
        prop_assert!(decode(&body.as_bytes()[..end], &single(Schema::untyped()), OPTIONS).is_err());
    }

    #[test]
    fn any_json_has_as_many_rows_out_as_in(body in value()) {
        for (schemas, strings) in schemas().iter().zip([true, false, true, false]) {
            let options = DecodeOptions { non_finite_strings: strings, ..OPTIONS };
            let Ok(decoded) = decode(body.to_string().as_bytes(), schemas, options) else { continue };
            for (_, batch) in decoded.inputs.iter() {
                for column in batch.columns() {
                    prop_assert_eq!(column.len(), batch.num_rows());
                }
                let mut out = Vec::new();
                encode_predictions(batch, false, NonFinite::String, &mut out).expect("what was read can be written");
                let back: Vec<Value> = serde_json::from_slice(&out).expect("the answer is JSON");
                prop_assert_eq!(back.len(), batch.num_rows());
            }
            let nested = body.get("inputs").and_then(|inputs| inputs.get("data"));
            if let (Some(batch), Some(rows)) = (decoded.inputs.as_single(), plain_rows(nested.unwrap_or(&body)))
                && body.get("columns").is_some() == body.get("data").is_some()
            {
                prop_assert_eq!(batch.num_rows(), rows, "{}", body);
            }
        }
    }
}
