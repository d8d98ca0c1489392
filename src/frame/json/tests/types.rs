//! JSON values to columns, and back where the answer shows what was read.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, StringArray};
use arrow_schema::DataType;

use super::*;
use crate::frame::schema::UnknownLevel;

const INTEGER: &str = "an integer from -2147483647 to 2147483647";

/// Reads `values` into one column `x` and writes the column out again.
fn through(kind: ColumnType, values: &str) -> String {
    through_column(Column::new("x", kind), values)
}

fn through_column(column: Column, values: &str) -> String {
    let schemas = single(Schema { columns: vec![column], unknown_columns: UnknownColumns::Error });
    let batch = batch(&schemas, &format!(r#"{{"x":{values}}}"#));
    encoded(&batch, true, NonFinite::String)
}

/// The misfit of `value` as the only row of a column `x`.
fn refused(column: Column, value: &str) -> (String, String) {
    let schemas = single(Schema { columns: vec![column], unknown_columns: UnknownColumns::Error });
    let mut misfits = misfits(&schemas, &format!(r#"[{{"x":{value}}}]"#));
    let misfit = misfits.pop().expect("there is a misfit");
    assert_eq!((misfits.len(), misfit.row, misfit.column.as_str()), (0, Some(0), "x"));
    (misfit.expected, misfit.got)
}

fn assert_refused(kind: ColumnType, expected: &str, cases: &[(&str, &str)]) {
    for (value, got) in cases {
        assert_eq!(refused(Column::new("x", kind), value), (expected.to_owned(), (*got).to_owned()), "{kind} {value}");
    }
}

#[test]
fn doubles_take_every_number() {
    assert_eq!(through(ColumnType::Double, "[1, -2.5, 1e3, 0.1, null]"), "[1.0,-2.5,1000.0,0.1,null]");
    assert_eq!(
        through(ColumnType::Double, "[-0, -0.0, 5e-324, 1.7976931348623157e308]"),
        "[-0.0,-0.0,5e-324,1.7976931348623157e+308]"
    );
    assert_eq!(
        through(ColumnType::Double, "[9007199254740992, 9007199254740994, -9007199254740992]"),
        "[9007199254740992.0,9007199254740994.0,-9007199254740992.0]"
    );
    assert_eq!(
        through(ColumnType::Double, "[18446744073709551616, 100000000000000000000, 1e300]"),
        "[1.8446744073709552e+19,1e+20,1e+300]"
    );
    let nested = [("[1,[2]]", "an array"), ("{\"a\":[1]}", "an object")];
    assert_refused(ColumnType::Double, "a number", &nested);
    let others = [("\"12.5\"", "\"12.5\" (a string)"), ("true", "true"), ("\"NaN\"", "\"NaN\" (a string)")];
    assert_refused(ColumnType::Double, "a number", &others);
}

#[test]
fn integers_that_a_double_cannot_hold_are_misfits() {
    let expected = "a number that a double holds exactly";
    for literal in ["9007199254740993", "-9007199254740993", "18446744073709551615", "-9223372036854775807"] {
        assert_refused(ColumnType::Double, expected, &[(literal, literal)]);
        assert_refused(ColumnType::Any, expected, &[(literal, literal)]);
    }
    // Too long for serde_json to keep: found by looking at the digits.
    for literal in ["18446744073709551617", "-18446744073709551617", "100000000000000000000001"] {
        assert_refused(ColumnType::Double, expected, &[(literal, literal)]);
    }
    assert_refused(ColumnType::Integer, INTEGER, &[("100000000000000000000001", "100000000000000000000001")]);
    assert_refused(ColumnType::Logical, "true or false", &[("100000000000000000000001", "100000000000000000000001")]);
}

#[test]
fn a_long_number_changes_nothing_else() {
    let schemas = single(schema(&[("x", ColumnType::Double), ("s", ColumnType::Character)]));
    let read = batch(&schemas, r#"[{"x":1e20,"s":"a\n"},{"x":null,"s":null},{"x":-0.0}]"#);
    assert_eq!(
        encoded(&read, false, NonFinite::Null),
        r#"[{"x":1e+20,"s":"a\n"},{"x":null,"s":null},{"x":-0.0,"s":null}]"#
    );
    let found = misfits(&schemas, r#"[{"x":1e20,"s":[1]},{"x":true}]"#);
    assert_eq!(found, [misfit(0, "s", "a string", "an array"), misfit(1, "x", "a number", "true")]);
}

#[test]
fn integers_are_whole_and_in_the_range_of_r() {
    assert_eq!(
        through(ColumnType::Integer, "[1, -2147483647, 2147483647, 3.0, 3e0, -0, null]"),
        "[1,-2147483647,2147483647,3,3,0,null]"
    );
    assert_refused(
        ColumnType::Integer,
        INTEGER,
        &[
            ("1.5", "1.5"),
            ("2147483648", "2147483648"),
            ("-2147483648", "-2147483648"),
            ("9007199254740993", "9007199254740993"),
            ("1e10", "10000000000.0"),
            ("\"3\"", "\"3\" (a string)"),
            ("false", "false"),
        ],
    );
}

#[test]
fn logicals_are_true_and_false_only() {
    assert_eq!(through(ColumnType::Logical, "[true, null, false]"), "[true,null,false]");
    let cases = [("1", "1"), ("0.0", "0.0"), ("\"true\"", "\"true\" (a string)")];
    assert_refused(ColumnType::Logical, "true or false", &cases);
}

#[test]
fn characters_are_strings_only() {
    assert_eq!(through(ColumnType::Character, r#"["", "ä\u00e4\n\"", "12.5", null]"#), r#"["","ää\n\"","12.5",null]"#);
    assert_refused(ColumnType::Character, "a string", &[("12.5", "12.5"), ("true", "true")]);
}

fn colour(kind: ColumnType, unknown_level: UnknownLevel) -> Column {
    Column { levels: vec!["red".to_owned(), "green".to_owned()], unknown_level, ..Column::new("x", kind) }
}

#[test]
fn factors_have_the_levels_of_the_schema() {
    for kind in [ColumnType::Factor, ColumnType::Ordered] {
        let schemas =
            single(Schema { columns: vec![colour(kind, UnknownLevel::Error)], unknown_columns: UnknownColumns::Error });
        let read = batch(&schemas, r#"{"x":["green",null,"green"]}"#);
        let column = read.column(0).as_dictionary::<Int32Type>();
        assert_eq!(column.values().as_string::<i32>(), &StringArray::from(vec!["red", "green"]));
        assert_eq!(column.keys().iter().collect::<Vec<_>>(), [Some(1), None, Some(1)]);
        let levels = "one of 'red', 'green'".to_owned();
        assert_eq!(refused(colour(kind, UnknownLevel::Error), "\"Red\""), (levels.clone(), "\"Red\"".to_owned()));
        assert_eq!(refused(colour(kind, UnknownLevel::Error), "1"), (levels, "1".to_owned()));
        assert_eq!(through_column(colour(kind, UnknownLevel::Na), r#"["red","blue"]"#), r#"["red",null]"#);
    }
}

#[test]
fn characters_with_levels_are_checked_and_stay_text() {
    let column = colour(ColumnType::Character, UnknownLevel::Error);
    assert_eq!(refused(column.clone(), "\"blue\""), ("one of 'red', 'green'".to_owned(), "\"blue\"".to_owned()));
    let schemas = single(Schema { columns: vec![column], unknown_columns: UnknownColumns::Error });
    assert_eq!(batch(&schemas, r#"{"x":["red"]}"#).column(0).data_type(), &DataType::Utf8);
    assert_eq!(through_column(colour(ColumnType::Character, UnknownLevel::Na), r#"["blue","red"]"#), r#"[null,"red"]"#);
}

#[test]
fn dates_and_timestamps_are_iso_8601() {
    assert_eq!(through(ColumnType::Date, r#"["2024-02-29","0001-01-01",null]"#), r#"["2024-02-29","0001-01-01",null]"#);
    let date = "a date as YYYY-MM-DD";
    assert_refused(ColumnType::Date, date, &[("\"2023-02-29\"", "\"2023-02-29\""), ("19782", "19782")]);
    assert_eq!(
        through(
            ColumnType::Timestamp,
            r#"["2024-02-29T12:34:56.123456Z","2024-02-29 12:34:56","2024-02-29T12:00:00+02:00",null]"#
        ),
        r#"["2024-02-29T12:34:56.123456Z","2024-02-29T12:34:56Z","2024-02-29T10:00:00Z",null]"#
    );
    let timestamp = "a timestamp as YYYY-MM-DDThh:mm:ss with an optional fraction and offset";
    assert_refused(ColumnType::Timestamp, timestamp, &[("\"2024-02-29\"", "\"2024-02-29\""), ("0", "0")]);
}

#[test]
fn columns_of_nulls_keep_their_type() {
    for kind in [
        ColumnType::Double,
        ColumnType::Integer,
        ColumnType::Logical,
        ColumnType::Character,
        ColumnType::Factor,
        ColumnType::Ordered,
        ColumnType::Date,
        ColumnType::Timestamp,
    ] {
        for body in [r#"[{"x":null},{}]"#, r#"{"x":[null,null]}"#, r#"{"columns":["x"],"data":[[null],[null]]}"#] {
            let read = batch(&single(schema(&[("x", kind)])), body);
            assert_eq!(read.column(0).data_type(), &kind.data_type().expect("the type is known"), "{kind} {body}");
            assert_eq!((read.column(0).len(), read.column(0).null_count()), (2, 2), "{kind} {body}");
        }
    }
}

#[test]
fn any_takes_its_type_from_the_first_value() {
    let schemas = single(schema(&[("x", ColumnType::Any)]));
    for (values, data_type) in [
        ("[null, 1, 2.5]", DataType::Float64),
        ("[null, true]", DataType::Boolean),
        ("[null, \"a\"]", DataType::Utf8),
        ("[null, null]", DataType::Boolean),
        ("[]", DataType::Boolean),
    ] {
        let read = batch(&schemas, &format!(r#"{{"x":{values}}}"#));
        assert_eq!(read.column(0).data_type(), &data_type, "{values}");
    }
    let number = "a number, like the values before it";
    assert_eq!(misfits(&schemas, r#"{"x":[1,"a"]}"#), [misfit(1, "x", number, "\"a\" (a string)")]);
    let string = "a string, like the values before it";
    assert_eq!(misfits(&schemas, r#"{"x":["a",null,1]}"#), [misfit(2, "x", string, "1")]);
    let logical = "true or false, like the values before it";
    assert_eq!(misfits(&schemas, r#"{"x":[true,1]}"#), [misfit(1, "x", logical, "1")]);
    let anything = "a number, true, false or a string";
    assert_eq!(misfits(&schemas, r#"{"x":[{},1]}"#), [misfit(0, "x", anything, "an object")]);
}

#[test]
fn non_finite_strings_are_numbers_when_asked_for() {
    let body = br#"[{"x":"NaN"},{"x":"Infinity"},{"x":"-Infinity"},{"x":null}]"#;
    let options = DecodeOptions { non_finite_strings: true, ..OPTIONS };
    let schemas = single(schema(&[("x", ColumnType::Double)]));
    let decoded = decode(body, &schemas, options).expect("the strings are accepted");
    let read = decoded.inputs.as_single().expect("there is one input");
    let column = read.column(0).as_primitive::<Float64Type>();
    assert!(column.is_valid(0) && column.value(0).is_nan(), "NaN is no null");
    assert_eq!((column.value(1), column.value(2), column.is_null(3)), (f64::INFINITY, f64::NEG_INFINITY, true));
    assert_eq!(encoded(read, true, NonFinite::String), r#"["NaN","Infinity","-Infinity",null]"#);
    for wrong in ["nan", "inf", "1"] {
        let error = decode(format!(r#"[{{"x":"{wrong}"}}]"#).as_bytes(), &schemas, options).expect_err("no such word");
        assert_eq!(error.kind(), &Kind::Unprocessable);
    }
}
