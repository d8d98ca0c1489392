//! The forms of a body, and which of them a body is read as.

use arrow_array::Array;

use super::*;

/// What `x` and `y` of three rows are in every form.
const EXPECTED: &str = r#"[{"x":1.0,"y":4.0},{"x":2.0,"y":null},{"x":3.0,"y":6.0}]"#;

#[test]
fn all_forms_say_the_same() {
    for body in [
        r#"[{"x":1,"y":4},{"x":2,"y":null},{"x":3,"y":6}]"#,
        r#"[{"y":4,"x":1},{"x":2},{"y":6,"x":3}]"#,
        r#"[{"\u0078":1,"y":4},{"x":2},{"y":6,"x":3}]"#,
        r#"{"x":[1,2,3],"y":[4,null,6]}"#,
        r#"{"y":[4,null,6],"x":[1,2,3]}"#,
        r#"{"columns":["x","y"],"data":[[1,4],[2,null],[3,6]]}"#,
        r#"{"columns":["y","x"],"index":["a","b","c"],"data":[[4,1],[null,2],[6,3]]}"#,
        r#"{"index":[0,1,2],"columns":["x","y"],"data":[[1,4],[2,null],[3,6]]}"#,
        r#"{"data":[[1,4],[2,null],[3,6]],"columns":["x","y"]}"#,
        r#"{"index":[0],"data":[[1,4],[2,null],[3,6]],"columns":["x","y"]}"#,
        r#"{"inputs":{"data":[{"x":1,"y":4},{"x":2},{"x":3,"y":6}]}}"#,
        r#"{"inputs":{"data":{"x":[1,2,3],"y":[4,null,6]}}}"#,
        r#"{"inputs":{"data":{"data":[[1,4],[2,null],[3,6]],"columns":["x","y"]}}}"#,
        "\u{feff} [ {\"x\" : 1 , \"y\":4},\n\t{\"x\":2.0},\r\n{\"x\":3e0,\"y\":6} ] ",
    ] {
        assert_eq!(encoded(&batch(&xy(), body), false, NonFinite::Null), EXPECTED, "{body}");
    }
}

#[test]
fn wrapper_words_are_columns_when_the_schema_has_them() {
    for (word, body) in [
        ("data", r#"{"data":[1,2]}"#),
        ("columns", r#"{"columns":[1,2]}"#),
        ("inputs", r#"{"inputs":[1,2]}"#),
        ("index", r#"{"index":[1,2]}"#),
    ] {
        let read = batch(&single(schema(&[(word, ColumnType::Double)])), body);
        assert_eq!(encoded(&read, true, NonFinite::Null), "[1.0,2.0]", "{word}");
    }
    // Split still works for such a schema.
    let read = batch(&single(schema(&[("data", ColumnType::Double)])), r#"{"columns":["data"],"data":[[1]]}"#);
    assert_eq!(encoded(&read, false, NonFinite::Null), r#"[{"data":1.0}]"#);
}

#[test]
fn index_without_split_is_a_column() {
    let read = batch(&single(Schema::untyped()), r#"{"index":[1,2],"x":["a","b"]}"#);
    assert_eq!(encoded(&read, false, NonFinite::Null), r#"[{"index":1.0,"x":"a"},{"index":2.0,"x":"b"}]"#);
    let read = batch(&single(Schema::untyped()), r#"{"index":[true]}"#);
    assert_eq!(encoded(&read, false, NonFinite::Null), r#"[{"index":true}]"#);
    assert_eq!(
        misfits(&xy(), r#"{"index":[1],"x":[1]}"#),
        [misfit(None, "index", "a column of the schema", "an unknown column")]
    );
}

#[test]
fn bodies_without_rows_are_typed() {
    for body in ["[]", r#"{"x":[]}"#, r#"{"columns":["x"],"data":[]}"#, r#"{"columns":[],"data":[]}"#] {
        let mut schemas = schema(&[("x", ColumnType::Integer), ("y", ColumnType::Date)]);
        schemas.columns[1].nullable = false;
        let read = batch(&single(schemas), body);
        assert_eq!(read.num_rows(), 0, "{body}");
        let types: Vec<_> = read.columns().iter().map(|column| column.data_type().clone()).collect();
        assert_eq!(
            types,
            [ColumnType::Integer, ColumnType::Date].map(|kind| kind.data_type().expect("known")),
            "{body}"
        );
    }
}

#[test]
fn rows_count_without_columns() {
    for schemas in [single(Schema::untyped()), single(schema(&[]))] {
        for (body, rows) in [("[]", 0), ("[{},{}]", 2), (r#"{"columns":[],"data":[[],[],[]]}"#, 3)] {
            let read = batch(&schemas, body);
            assert_eq!((read.num_columns(), read.num_rows()), (0, rows), "{body}");
        }
    }
}

#[test]
fn unknown_columns_pass_in_the_order_first_seen() {
    let schemas = single(Schema { columns: vec![Column::new("x", ColumnType::Double)], ..Schema::untyped() });
    let read = batch(&schemas, r#"[{"b":"u"},{"a":1,"x":2},{"c":null,"b":"v"}]"#);
    assert_eq!(
        encoded(&read, false, NonFinite::Null),
        r#"[{"x":null,"b":"u","a":null,"c":null},{"x":2.0,"b":null,"a":1.0,"c":null},{"x":null,"b":"v","a":null,"c":null}]"#
    );
    assert_eq!(misfits(&schemas, r#"[{"a":1},{"a":"1"}]"#).len(), 1);
}

#[test]
fn unknown_columns_are_ignored_with_a_warning() {
    let schemas =
        single(Schema { columns: vec![Column::new("x", ColumnType::Double)], unknown_columns: UnknownColumns::Ignore });
    for body in [
        r#"[{"x":1,"b":[{}],"a":1},{"a":"2","x":2}]"#,
        r#"{"b":[1,{}],"x":[1,2],"a":[1,"2"]}"#,
        r#"{"columns":["b","x","a"],"data":[[{},1,1],[[],2,"2"]]}"#,
    ] {
        let decoded = read(&schemas, body).expect("unknown columns are ignored");
        assert_eq!(decoded.warnings, ["ignored columns that the model does not take: 'b', 'a'"], "{body}");
        let batch = decoded.inputs.as_single().expect("there is one input");
        assert_eq!(encoded(batch, false, NonFinite::Null), r#"[{"x":1.0},{"x":2.0}]"#, "{body}");
    }
    let many: Vec<_> = (0..25).map(|n| format!("\"c{n}\":1")).collect();
    let decoded = read(&schemas, &format!("[{{{}}}]", many.join(","))).expect("unknown columns are ignored");
    assert_eq!(decoded.warnings.len(), 1);
    assert!(decoded.warnings[0].ends_with("'c19' and 5 more"), "{:?}", decoded.warnings);
}

fn forecast() -> InputSchemas {
    let future = Schema { unknown_columns: UnknownColumns::Ignore, ..schema(&[("price", ColumnType::Double)]) };
    Inputs::named(vec![
        ("history".to_owned(), schema(&[("sales", ColumnType::Integer), ("data", ColumnType::Double)])),
        ("futurex".to_owned(), future),
    ])
}

#[test]
fn several_inputs_are_named() {
    let body = r#"{"inputs":{"futurex":[{"price":1.5,"day":1}],"history":{"data":[1,2,3],"sales":[1,2,3]}}}"#;
    let decoded = read(&forecast(), body).expect("the body fits");
    assert_eq!(decoded.warnings, ["input 'futurex': ignored columns that the model does not take: 'day'"]);
    let read: Vec<_> =
        decoded.inputs.iter().map(|(name, batch)| (name, batch.num_rows(), batch.num_columns())).collect();
    assert_eq!(read, [("history", 3, 2), ("futurex", 1, 1)]);
}

#[test]
fn misfits_of_several_inputs_say_which() {
    let body = r#"{"inputs":{"futurex":[{"price":"1"}],"history":{"sales":[1.5]}}}"#;
    let mut expected = [
        misfit(0, "price", "a number", "\"1\" (a string)"),
        misfit(0, "sales", "an integer from -2147483647 to 2147483647", "1.5"),
    ];
    expected[0].input = Some("futurex".to_owned());
    expected[1].input = Some("history".to_owned());
    assert_eq!(misfits(&forecast(), body), expected);
}

#[test]
fn nested_cells_of_one_input_say_nothing_about_the_next() {
    let body = r#"{"inputs":{"history":[{"sales":[1]}],"futurex":{"day":[1]}}}"#;
    let mut expected = misfit(0, "sales", "an integer from -2147483647 to 2147483647", "an array");
    expected.input = Some("history".to_owned());
    assert_eq!(misfits(&forecast(), body), [expected]);
}

#[test]
fn several_inputs_have_one_form() {
    let example = r#"{"inputs":{"history":…,"futurex":…}}"#;
    for body in ["[]", r#"{"sales":[1]}"#, r#"{"history":[],"futurex":[]}"#, "1"] {
        let text = malformed(&forecast(), body);
        assert!(text.contains(example), "{body}: {text}");
    }
    assert_eq!(
        malformed(&forecast(), r#"{"inputs":{"history":[]}}"#),
        "line 1, column 24: the input 'futurex' is missing: the model takes 'history', 'futurex'"
    );
    assert_eq!(
        malformed(&forecast(), r#"{"inputs":{"history":[],"future":[]}}"#),
        "line 1, column 32: unknown input 'future': the model takes 'history', 'futurex'"
    );
    let twice = malformed(&forecast(), r#"{"inputs":{"history":[],"history":[]}}"#);
    assert!(twice.contains("the input 'history' is there twice"), "{twice}");
    let beside = malformed(&xy(), r#"{"inputs":{"data":[]},"more":1}"#);
    assert!(beside.contains("unknown key 'more' beside 'inputs'"), "{beside}");
}

#[test]
fn a_single_input_keeps_its_name() {
    let schemas = Inputs::named(vec![("history".to_owned(), schema(&[("x", ColumnType::Double)]))]);
    for body in [r#"[{"x":1}]"#, r#"{"inputs":{"history":[{"x":1}]}}"#] {
        let decoded = read(&schemas, body).expect("the body fits");
        assert_eq!(decoded.inputs.get("history").expect("the input is there").num_rows(), 1, "{body}");
    }
    assert_eq!(misfits(&schemas, r#"[{"x":"a"}]"#), [misfit(0, "x", "a number", "\"a\" (a string)")]);
}
