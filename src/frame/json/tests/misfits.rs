//! Lists of misfits as callers see them.

use super::*;
use crate::error::CellErrors;

fn strict() -> InputSchemas {
    let mut schema = schema(&[("crim", ColumnType::Double), ("chas", ColumnType::Factor), ("n", ColumnType::Integer)]);
    schema.columns[0].nullable = false;
    schema.columns[1].levels = vec!["no".to_owned(), "yes".to_owned()];
    single(schema)
}

#[test]
fn records_list_every_misfit_in_the_order_of_the_body() {
    let body = r#"[
        {"crim":"0.1","chas":"maybe","n":1.5},
        {"crim":null,"chas":null,"n":null},
        {"crimm":1,"chas":"yes"},
        {"crimm":2,"crim":1,"zzz":[1]}
    ]"#;
    let unknown = "an unknown column";
    assert_eq!(
        misfits(&strict(), body),
        [
            misfit(0, "crim", "a number", "\"0.1\" (a string)"),
            misfit(0, "chas", "one of 'no', 'yes'", "\"maybe\""),
            misfit(0, "n", "an integer from -2147483647 to 2147483647", "1.5"),
            misfit(1, "crim", "a number", "null"),
            misfit(None, "crimm", "a column of the schema (did you mean 'crim'?)", unknown),
            misfit(2, "crim", "a number", "missing"),
            misfit(None, "zzz", "a column of the schema", unknown),
        ]
    );
    assert_eq!(
        error(&strict(), body).detail(),
        "row 0, column 'crim': expected a number, got \"0.1\" (a string) (7 misfits in all)"
    );
}

#[test]
fn columns_and_split_name_a_missing_column_once() {
    let expected = [misfit(None, "crim", "a number", "missing")];
    assert_eq!(misfits(&strict(), r#"{"n":[1,2,3]}"#), expected);
    assert_eq!(misfits(&strict(), r#"{"columns":["n"],"data":[[1],[2],[3]]}"#), expected);
}

#[test]
fn rows_are_counted_in_every_form() {
    let expected = [misfit(1, "n", "an integer from -2147483647 to 2147483647", "true")];
    assert_eq!(misfits(&strict(), r#"{"n":[1,true],"crim":[1,2]}"#), expected);
    assert_eq!(misfits(&strict(), r#"{"columns":["n","crim"],"data":[[1,1],[true,2]]}"#), expected);
    assert_eq!(misfits(&strict(), r#"{"data":[[1,1],[true,2]],"columns":["n","crim"]}"#), expected);
    assert_eq!(misfits(&strict(), r#"[{"n":1,"crim":1},{"n":true,"crim":2}]"#), expected);
}

#[test]
fn the_first_twenty_are_listed_and_all_are_counted() {
    let rows = vec![r#"{"x":"a","y":{"deep":[[[1]]]}}"#; 50].join(",");
    let error = error(&xy(), &format!("[{rows}]"));
    let cells = error.cells().expect("a misfit has cells");
    assert_eq!((cells.count, cells.listed.len()), (100, CellErrors::LISTED));
    assert_eq!(cells.listed[19], misfit(9, "y", "a number", "an object"));
}

#[test]
fn what_was_sent_is_cut() {
    let long = "ä\\n".repeat(1000);
    let found = misfits(&xy(), &format!(r#"[{{"x":"{long}"}}]"#));
    assert_eq!(found, [misfit(0, "x", "a number", &format!("\"{}…\" (a string)", "ä\\n".repeat(20)))]);
    let found = misfits(&xy(), &format!(r#"[{{"{}":1}}]"#, "k".repeat(100_000)));
    assert_eq!(found[0].column, format!("{}…", "k".repeat(200)));
}

#[test]
fn malformed_comes_before_misfits() {
    malformed(&xy(), r#"[{"x":"a"},{"x":}]"#);
    malformed(&xy(), r#"{"x":["a"],"y":[1,2]}"#);
}
