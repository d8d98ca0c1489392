//! Every bound, reached and passed.

use super::*;
use crate::frame::table::{ABSENT_CELLS, UNKNOWN_COLUMNS};

fn assert_too_large(schemas: &InputSchemas, options: DecodeOptions, body: &str, expected: &str) {
    let error = decode(body.as_bytes(), schemas, options).expect_err("a limit is passed");
    assert_eq!(error.kind(), &Kind::TooLarge, "{error}");
    assert!(error.detail().contains(expected), "{error}");
}

#[test]
fn rows_are_bounded_in_every_form() {
    let options = DecodeOptions { max_rows: 2, ..OPTIONS };
    let forms: [(&str, &str); 5] = [
        (r#"[{"x":1},{"x":1}]"#, r#"[{"x":1},{"x":1},{"x":1}]"#),
        (r#"{"x":[1,1]}"#, r#"{"x":[1,1,1]}"#),
        (r#"{"columns":["x"],"data":[[1],[1]]}"#, r#"{"columns":["x"],"data":[[1],[1],[1]]}"#),
        (r#"{"data":[[1],[1]],"columns":["x"]}"#, r#"{"data":[[1],[1],[1]],"columns":["x"]}"#),
        (r#"{"inputs":{"data":[{},{}]}}"#, r#"{"inputs":{"data":[{},{},{}]}}"#),
    ];
    for (most, more) in forms {
        let decoded = decode(most.as_bytes(), &xy(), options).expect("the limit is not passed");
        assert_eq!(decoded.inputs.as_single().expect("there is one input").num_rows(), 2, "{most}");
        assert_too_large(&xy(), options, more, "more than 2 rows");
    }
    assert_too_large(&xy(), options, r#"{"zz":[1,1,1]}"#, "more than 2 rows");
}

#[test]
fn unknown_columns_are_bounded() {
    let wide = |count: usize| (0..count).map(|n| format!("\"c{n}\":1")).collect::<Vec<_>>().join(",");
    let (most, more) = (format!("[{{{}}}]", wide(UNKNOWN_COLUMNS)), format!("[{{{}}}]", wide(UNKNOWN_COLUMNS + 1)));
    let untyped = single(Schema::untyped());
    assert_eq!(batch(&untyped, &most).num_columns(), UNKNOWN_COLUMNS);
    for unknown_columns in [UnknownColumns::Pass, UnknownColumns::Ignore, UnknownColumns::Error] {
        let schemas = single(Schema { columns: Vec::new(), unknown_columns });
        assert_too_large(&schemas, OPTIONS, &more, "more than 10000 columns");
    }
}

#[test]
fn cells_that_rows_lack_are_bounded() {
    // Each row brings a column of its own: rows times columns, for a few bytes each.
    let rows: Vec<_> = (0..5000).map(|n| format!("{{\"c{n}\":1}}")).collect();
    let options = DecodeOptions { max_rows: 1_000_000, ..OPTIONS };
    let text = format!("lack more than {ABSENT_CELLS} values");
    assert_too_large(&single(Schema::untyped()), options, &format!("[{}]", rows.join(",")), &text);

    let columns = (0..1000).map(|n| Column::new(format!("c{n}"), ColumnType::Double)).collect();
    let schemas = single(Schema { columns, unknown_columns: UnknownColumns::Error });
    let rows = ABSENT_CELLS / 999 + 1;
    assert_too_large(&schemas, options, &format!("[{}]", vec!["{}"; rows].join(",")), &text);
    assert_too_large(&schemas, options, &format!("{{\"c0\":[{}]}}", vec!["1"; rows].join(",")), &text);
    let split = format!(r#"{{"columns":["c0"],"data":[{}]}}"#, vec!["[1]"; rows].join(","));
    assert_too_large(&schemas, options, &split, &text);
}
