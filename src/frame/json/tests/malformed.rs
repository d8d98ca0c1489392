//! Bodies that are no JSON, or none of the forms: status 400 with a position.

use super::*;

#[test]
fn syntax_errors_have_a_position() {
    for (body, expected) in [
        (r#"[{"x":1,}]"#, "line 1, column 9: not JSON: trailing comma"),
        ("[\n {\"x\":1}\n {\"x\":2}]", "line 3, column 2: not JSON: expected `,` or `]`"),
        (r#"[{"x" 1}]"#, "line 1, column 7: not JSON: expected `:`"),
        (r#"[{"x":1e999}]"#, "line 1, column 11: the number is out of range, a double holds up to 1.8e308"),
        (r#"[{x:1}]"#, "line 1, column 3: not JSON: key must be a string"),
        (r#"[{"x":1}]]"#, "line 1, column 10: not JSON: trailing characters"),
        (r#"[{"x":1}"#, "line 1, column 8: the JSON ends too early (EOF while parsing a list)"),
        (r#"[{"x":01}]"#, "line 1, column 8: not JSON: invalid number"),
        (r#"[{"x":"\q"}]"#, "line 1, column 9: not JSON: invalid escape"),
        (
            "[{\"x\":\"\u{1}\"}]",
            "line 1, column 8: not JSON: control character (\\u0000-\\u001F) found while parsing a string",
        ),
    ] {
        assert_eq!(malformed(&xy(), body), expected, "{body}");
    }
}

#[test]
fn positions_in_data_before_columns_count_from_the_start_of_the_body() {
    assert_eq!(
        malformed(&xy(), "{\"data\":[[1,2],\n[3,4,5]],\n\"columns\":[\"x\",\"y\"]}"),
        "line 2, column 7: row 1 has more values than the 2 columns"
    );
    assert_eq!(malformed(&xy(), "{\n \"index\":5,\"x\":[1]}").split(':').next(), Some("line 2, column 10"));
}

#[test]
fn words_of_other_languages_get_advice() {
    let non_finite = "; JSON has no NaN or Infinity: send null for a missing value";
    for body in [r#"[{"x":NaN}]"#, r#"[{"x":nan}]"#, r#"[{"x":Infinity}]"#, r#"[{"x":-Infinity}]"#, r#"{"x":[1,-inf]}"#]
    {
        let text = malformed(&xy(), body);
        assert!(text.starts_with("line 1, column ") && text.ends_with(non_finite), "{body}: {text}");
        let options = DecodeOptions { non_finite_strings: true, ..OPTIONS };
        let error = decode(body.as_bytes(), &xy(), options).expect_err("bare words are no JSON");
        assert!(error.detail().ends_with(r#"the string "NaN", "Infinity" or "-Infinity""#), "{error}");
    }
    for (body, advice) in [
        (r#"[{"x":NA}]"#, "; a missing value is null in JSON"),
        (r#"[{"x":None}]"#, "; a missing value is null in JSON"),
        (r#"[{"x":TRUE}]"#, "; true, false and null are lower case in JSON"),
        (r#"[{"x":nul}]"#, "expected ident"),
    ] {
        assert!(malformed(&xy(), body).ends_with(advice), "{body}: {}", malformed(&xy(), body));
    }
}

#[test]
fn empty_bodies_and_wrong_encodings_say_so() {
    for body in ["", " \n\t ", "\u{feff}"] {
        assert!(malformed(&xy(), body).starts_with("the body is empty: send records"), "{body:?}");
    }
    let error = decode(b"[{\"x\":\"\xff\"}]", &xy(), OPTIONS).expect_err("the body is not UTF-8");
    assert_eq!(error.kind(), &Kind::Malformed);
    assert_eq!(error.detail(), "the body is not UTF-8: the byte at offset 7 is wrong");
}

#[test]
fn names_must_be_unique() {
    for (body, expected) in [
        (r#"[{"x":1,"y":2},{"x":1,"x":2}]"#, "line 1, column 25: row 1 has the key 'x' twice"),
        (r#"[{"x":1,"\u0078":2}]"#, "line 1, column 16: row 0 has the key 'x' twice"),
        (r#"[{"z":1,"z":2}]"#, "line 1, column 11: row 0 has the key 'z' twice"),
        (r#"{"x":[1],"x":[1]}"#, "line 1, column 12: the column 'x' is there twice"),
        (r#"{"x":[],"x":[]}"#, "line 1, column 11: the column 'x' is there twice"),
        (r#"{"columns":["x","x"],"data":[]}"#, "line 1, column 20: the column 'x' is there twice"),
        (r#"{"columns":["x"],"data":[],"columns":["x"]}"#, "line 1, column 43: the key 'columns' is there twice"),
        (r#"{"columns":["x"],"data":[],"data":[]}"#, "line 1, column 37: the key 'data' is there twice"),
        (r#"{"index":[],"columns":["x"],"index":[],"data":[]}"#, "line 1, column 38: the key 'index' is there twice"),
    ] {
        assert_eq!(malformed(&xy(), body), expected, "{body}");
    }
}

#[test]
fn columns_and_rows_have_one_length() {
    for (body, expected) in [
        (r#"{"x":[1,2],"y":[1]}"#, "column 'y' has 1 values, column 'x' has 2"),
        (r#"{"x":[],"y":[1]}"#, "column 'y' has 1 values, column 'x' has 0"),
        (r#"{"x":[1],"zz":[1,2]}"#, "column 'zz' has 2 values, column 'x' has 1"),
        (r#"{"columns":["x","y"],"data":[[1,2],[1]]}"#, "row 1 has 1 values for 2 columns"),
        (r#"{"columns":["x","y"],"data":[[1,2,3]]}"#, "row 0 has more values than the 2 columns"),
    ] {
        let text = malformed(&xy(), body);
        assert!(text.starts_with("line 1, column ") && text.ends_with(expected), "{body}: {text}");
    }
}

#[test]
fn a_bare_record_is_told_to_be_wrapped() {
    for (body, kind) in [
        (r#"{"x":0.1,"y":2}"#, "a number"),
        (r#"{"x":"a"}"#, "a string"),
        (r#"{"x":null}"#, "null"),
        (r#"{"x":true}"#, "a boolean"),
    ] {
        let expected = format!(
            "'x' holds a single value ({kind}) where a column is an array: put one row into [ ], as in [{{\"x\":…}}]"
        );
        let text = malformed(&xy(), body);
        assert!(text.ends_with(&expected), "{body}: {text}");
        assert!(malformed(&single(Schema::untyped()), body).ends_with(&expected), "{body}");
    }
}

#[test]
fn other_shapes_are_refused() {
    for (body, expected) in [
        ("[[1,2]]", "invalid type: sequence, expected row 0 as an object"),
        ("[1]", "invalid type: integer `1`, expected row 0 as an object"),
        (r#"[{"x":1},null]"#, "invalid type: null, expected row 1 as an object"),
        ("{}", "an object without keys has no rows: send records"),
        (r#"{"inputs":{"data":{}}}"#, "an object without keys has no rows: send records"),
        ("12", "invalid type: integer `12`, expected records"),
        ("null", "invalid type: null, expected records"),
        (r#"{"data":[[1]]}"#, "'columns' and 'data' go together: 'columns' is missing"),
        (r#"{"columns":["x"]}"#, "'columns' and 'data' go together: 'data' is missing"),
        (r#"{"columns":["x"],"data":[],"x":[1]}"#, "unknown key 'x' beside 'columns' and 'data'"),
        (r#"{"columns":["x"],"data":[{"x":1}]}"#, "invalid type: map, expected row 0 as an array"),
        (r#"{"columns":["x"],"data":{}}"#, "invalid type: map, expected 'data' as an array of rows"),
        (r#"{"columns":[1],"data":[]}"#, "invalid type: integer `1`, expected a column name as a string"),
        (r#"{"columns":"x","data":[]}"#, "invalid type: string \"x\", expected 'columns' as an array of names"),
        (r#"{"instances":[{"x":1}]}"#, "'instances' is no column and no known wrapper: send records"),
        (r#"{"instances":[[1]]}"#, "'instances' is no column and no known wrapper: send records"),
        (r#"{"df":{"x":[1]}}"#, "'df' is no column and no known wrapper: send records"),
        (r#"{"inputs":[]}"#, "invalid type: sequence, expected an object with the inputs 'data'"),
        (r#"{"inputs":{"data":1}}"#, "invalid type: integer `1`, expected records"),
    ] {
        let text = malformed(&xy(), body);
        assert!(text.starts_with("line 1, column ") && text.contains(expected), "{body}: {text}");
    }
    let untyped = malformed(&single(Schema::untyped()), r#"{"instances":[{"x":1}]}"#);
    assert!(untyped.contains("no known wrapper"), "{untyped}");
}

#[test]
fn answers_do_not_echo_the_body() {
    let long = "k".repeat(100_000);
    for body in [
        format!(r#"["{long}"]"#),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"{long}":{{}}}}"#),
        format!(r#"{{"inputs":{{"{long}":[]}}}}"#),
        format!(r#"{{"columns":"{long}"}}"#),
        format!(r#"[{{"{long}":1,"{long}":1}}]"#),
    ] {
        for schemas in [xy(), single(Schema::untyped())] {
            let text = malformed(&schemas, &body);
            assert!(text.len() < 1000 && text.contains("kkk…"), "{text}");
        }
    }
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let depth = 100_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let objects = r#"{"x":"#.repeat(depth);
    for body in [
        open.clone(),
        format!("{open}{close}"),
        format!(r#"[{{"x":{open}{close}}}]"#),
        format!(r#"{{"x":[{open}{close}]}}"#),
        format!(r#"{{"zz":[{open}{close}]}}"#),
        format!(r#"{{"data":{open}{close},"columns":["x"]}}"#),
        format!(r#"{{"index":{open}{close},"x":[1]}}"#),
        format!(r#"{{"inputs":{{"data":{open}"#),
        format!(r#"[{{"x":1e20}},{{"x":{open}{close}}}]"#),
        objects.clone(),
        format!("[{objects}1{}]", "}".repeat(depth)),
    ] {
        for schemas in [xy(), single(Schema::untyped())] {
            let error = error(&schemas, &body);
            assert!(matches!(error.kind(), Kind::Malformed | Kind::Unprocessable), "{error}");
            assert!(error.detail().len() < 500, "{}", error.detail().len());
        }
    }
}
