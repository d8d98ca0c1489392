//! NDJSON: the rules of records, line by line.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::frame::json::LinesDecoder;
use crate::frame::stream::{Chunk, Decoder, OnMisfit, StreamOptions};
use crate::frame::testing::{STREAM, read};

const LINES: StreamOptions = StreamOptions { max_record_bytes: 100, ..STREAM };

fn chunks(pieces: &[&[u8]], max_rows: usize, options: StreamOptions) -> Result<Vec<Chunk>> {
    let schema = schema(&[("x", ColumnType::Double), ("s", ColumnType::Character)]);
    read(LinesDecoder::new(Arc::new(schema), options), pieces, max_rows)
}

#[test]
fn lines_are_records() {
    let schemas = single(schema(&[("x", ColumnType::Double), ("s", ColumnType::Character)]));
    let records = batch(&schemas, r#"[{"x":1,"s":"a"},{"s":"ä\nb"},{"x":1e-3}]"#);
    let lines = "\u{feff}{\"x\":1,\"s\":\"a\"}\r\n\n{\"s\":\"ä\\nb\"}\n  \n{\"x\":1e-3}";
    let read = chunks(&[lines.as_bytes()], 100, LINES).unwrap();
    assert_eq!((read.len(), &read[0].batch), (1, &records));
    assert_eq!(chunks(&[b"\n"], 100, LINES).unwrap()[0].batch.num_rows(), 0);
}

#[test]
fn empty_lines_take_no_memory() {
    let columns = schema(&[("x", ColumnType::Double), ("s", ColumnType::Character)]);
    for held in ["", "{\"x\":1}\n"] {
        let mut decoder = LinesDecoder::new(Arc::new(columns.clone()), LINES);
        decoder.push(held.as_bytes()).unwrap();
        let before = decoder.buffered();
        for empty in ["\n", "\r\n", "   \n"] {
            decoder.push(empty.repeat(100_000).as_bytes()).unwrap();
            assert_eq!(decoder.buffered(), before, "{empty:?} after {held:?}");
        }
        decoder.push(b"\n{\"x\":2}\n").unwrap();
        decoder.push(b"[]").unwrap();
        decoder.finish().unwrap();
        let error = decoder.next_chunk(100).unwrap_err();
        let line = 300_000 + held.lines().count() + 3;
        assert!(error.detail().contains(&format!("line {line}")), "{error}");
    }
}

#[test]
fn faults_are_told_by_line_and_row() {
    let body = b"{\"x\":1}\n\n{\"x\":\"a\"}\n{\"x\":9007199254740993}\n{\"x\":36893488147419103233}\n";
    let error = chunks(&[body], 100, LINES).unwrap_err();
    let rows: Vec<_> = error.cells().unwrap().listed.iter().map(|cell| (cell.row, cell.got.as_str())).collect();
    let expected = [(Some(1), "\"a\" (a string)"), (Some(2), "9007199254740993"), (Some(3), "36893488147419103233")];
    assert_eq!(rows, expected);
    for (body, text) in [
        ("{\"x\":1}\n\n{\"x\":nope}\n", "line 3, column 7: not JSON"),
        ("{\"x\":1}\n[1]\n", "row 1 as an object"),
        ("{\"x\":1}\n{\"x\":1,\"x\":2}\n", "row 1 has the key 'x' twice"),
        ("{\"x\":1}{\"x\":2}\n", "line 1, column 8"),
        ("{\"x\":1,\n\"s\":1}\n", "line 1, column 7: the JSON ends too early"),
    ] {
        for max_rows in [1, 100] {
            let error = chunks(&[body.as_bytes()], max_rows, LINES).unwrap_err();
            assert_eq!(*error.kind(), Kind::Malformed, "{body}");
            assert!(error.detail().contains(text), "{body}: {error}");
        }
    }
}

#[test]
fn lines_are_bounded() {
    let long = |length: usize| format!("{{\"x\":1}}\n{{\"s\":\"{}\"}}", "a".repeat(length));
    assert_eq!(chunks(&[(long(91) + "\n").as_bytes()], 9, LINES).unwrap()[0].batch.num_rows(), 2);
    for body in [long(92), long(92) + "\n", long(5000)] {
        let error = chunks(&[body.as_bytes()], 9, LINES).unwrap_err();
        assert_eq!(*error.kind(), Kind::TooLarge);
        assert!(error.detail().starts_with("row 1 is longer than the 100 bytes"), "{error}");
    }
}

#[test]
fn rejected_lines_keep_their_bytes() {
    let options = StreamOptions { on_misfit: OnMisfit::Reject, ..LINES };
    let body = b"{\"x\":1}\n{\"x\":\"a\"}\r\n{\"x\":\n{\"s\":\"\xff\"}\n{\"x\":2}\n";
    let read = chunks(&[body], 2, options).unwrap();
    let rejected: Vec<_> = read.iter().flat_map(|chunk| &chunk.rejected).collect();
    let raw: Vec<_> = rejected.iter().map(|row| (row.row, row.raw.as_ref())).collect();
    assert_eq!(raw, [(1, b"{\"x\":\"a\"}".as_slice()), (2, b"{\"x\":"), (3, b"{\"s\":\"\xff\"}")]);
    assert_eq!(read.iter().map(|chunk| chunk.batch.num_rows()).sum::<usize>(), 2);
    let column = chunks(&[b"{\"x\":1}\n{\"zz\":1}\n"], 2, options).unwrap_err();
    assert_eq!(*column.kind(), Kind::Unprocessable);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_chunks(
        lines in prop::collection::vec("|\\{\"x\":[0-9]{1,30}\\}|\\{\"s\":\"[aé]{0,9}\"\\}|\\{\"x\":\"", 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max_rows in 1..4_usize,
        chunk_bytes in 1..100_usize,
        reject in any::<bool>(),
    ) {
        let body = lines.join("\n").into_bytes();
        let on_misfit = if reject { OnMisfit::Reject } else { OnMisfit::Fail };
        let options = StreamOptions { on_misfit, chunk_bytes, ..LINES };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        let show = |result: Result<Vec<Chunk>>| format!("{result:?}");
        prop_assert_eq!(show(chunks(&pieces, max_rows, options)), show(chunks(&[&body], max_rows, options)));
    }
}
