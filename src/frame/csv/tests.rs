//! What the CSV codec promises.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::*;
use crate::error::CellError;
use crate::frame::schema::{Column, ColumnType, UnknownColumns};
use crate::frame::stream::Encoder;
use crate::frame::testing::{STREAM as OPTIONS, read};

fn schema() -> Schema {
    let mut columns = vec![
        Column::new("x", ColumnType::Double),
        Column::new("n", ColumnType::Integer),
        Column::new("s", ColumnType::Character),
        Column::new("f", ColumnType::Factor),
    ];
    columns[0].nullable = false;
    columns[3].levels = vec!["low".to_owned(), "high".to_owned()];
    Schema { columns, unknown_columns: UnknownColumns::Error }
}

/// The chunks of a body that comes in these pieces.
fn chunks(pieces: &[&[u8]], max_rows: usize, options: StreamOptions) -> Result<Vec<Chunk>> {
    read(CsvDecoder::new(Arc::new(schema()), options), pieces, max_rows)
}

fn batch(body: &str) -> RecordBatch {
    let mut chunks = chunks(&[body.as_bytes()], 1000, OPTIONS).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(chunks.len(), 1, "{body}");
    chunks.remove(0).batch
}

fn error(body: &str) -> Error {
    chunks(&[body.as_bytes()], 1000, OPTIONS).expect_err(body)
}

fn misfits(body: &str) -> Vec<CellError> {
    let error = error(body);
    assert_eq!(*error.kind(), Kind::Unprocessable, "{body}: {error}");
    error.cells().unwrap().listed.clone()
}

fn texts(batch: &RecordBatch) -> Vec<Option<&str>> {
    batch.column(2).as_string::<i32>().iter().collect()
}

#[test]
fn columns_are_found_by_name_and_cells_typed_by_the_schema() {
    let batch = batch("f,\"x\",s,n\nhigh,1.5,\"a,\"\"b\"\"\nc\",2\nlow,-1e-3,,NA\n\"high\",Inf, NA ,\n");
    assert_eq!(batch.schema_ref().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["x", "n", "s", "f"]);
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().values(), &[1.5, -1e-3, f64::INFINITY]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(2), None, None]);
    assert_eq!(texts(&batch), [Some("a,\"b\"\nc"), Some(""), Some(" NA ")]);
    assert_eq!(batch.column(3).as_dictionary::<Int32Type>().keys().values(), &[1, 0, 1]);
}

#[test]
fn line_ends_marks_and_empty_lines_make_no_difference() {
    let plain = batch("x,s\n1,a\n2,b\n");
    for other in ["\u{feff}x,s\r\n1,a\r\n2,b", "\nx,s\n\n1,a\n\n\n2,b\n\n", "x,s\r1,a\r2,b\r"] {
        assert_eq!(batch(other), plain, "{other:?}");
    }
}

#[test]
fn a_header_is_checked_before_anything_is_made_of_it() {
    let names: Vec<String> = (0..12_000).map(|n| format!("c{n}")).collect();
    let options = StreamOptions { max_record_bytes: 1 << 20, ..OPTIONS };
    let mut decoder = CsvDecoder::new(Arc::new(schema()), options);
    let error = decoder.push((names.join(",") + "\n").as_bytes()).unwrap_err();
    assert_eq!(*error.kind(), Kind::TooLarge, "{error}");
    assert!(error.detail().contains("columns that the model does not know"), "{error}");
}

#[test]
fn fields_without_bytes_take_little_memory() {
    let options = StreamOptions { max_record_bytes: 1 << 20, ..OPTIONS };
    let mut decoder = CsvDecoder::new(Arc::new(schema()), options);
    decoder.push(b"x\n").unwrap();
    let rows = (",".repeat(999) + "\n").repeat(100);
    decoder.push(rows.as_bytes()).unwrap();
    assert_eq!(decoder.complete_rows(), 100);
    assert!(decoder.buffered() < 9 * rows.len(), "{} bytes for {}", decoder.buffered(), rows.len());
}

#[test]
fn no_rows_are_one_chunk_without_rows() {
    assert_eq!(batch("x,n,s,f").num_rows(), 0);
    assert_eq!(batch("x,n,s,f\n").num_columns(), 4);
    for empty in ["", "\n\r\n", "\u{feff}"] {
        assert!(error(empty).detail().contains("the CSV is empty"), "{empty:?}");
    }
}

#[test]
fn misfits_name_row_and_column() {
    let listed = misfits("x,f,n\n1,low,1\nNA,mid,1.5\n\"\",low,x\n9007199254740993,low,3000000000\n");
    let told: Vec<_> = listed.iter().map(|m| (m.row.unwrap(), m.column.as_str(), m.got.as_str())).collect();
    let expected = [
        (1, "x", "NA"),
        (1, "f", "mid"),
        (1, "n", "1.5"),
        (2, "x", "\"\" (quoted)"),
        (2, "n", "x"),
        (3, "x", "9007199254740993"),
        (3, "n", "3000000000"),
    ];
    assert_eq!(told, expected);
    assert_eq!(listed[1].expected, "one of 'low', 'high'");
    let unknown = misfits("x,nn\n1,1\n");
    assert_eq!((unknown[0].row, unknown[0].column.as_str()), (None, "nn"));
    assert!(unknown[0].expected.contains("did you mean 'n'"), "{}", unknown[0].expected);
    let missing = misfits("n\n1\n");
    assert_eq!((missing[0].row, missing[0].column.as_str(), missing[0].got.as_str()), (None, "x", "missing"));
}

#[test]
fn rows_count_from_the_start_of_the_stream() {
    let body: String = std::iter::once("x\n".to_owned()).chain((0..10).map(|n| format!("{n}\n"))).collect();
    let error = chunks(&[(body + "y\n").as_bytes()], 3, OPTIONS).unwrap_err();
    assert_eq!(error.cells().unwrap().listed[0].row, Some(10));
}

#[test]
fn what_is_no_csv_is_malformed() {
    for (body, text) in [
        ("x,s\n1\n", "row 0 has 1 values for the 2 columns"),
        ("x,s\n1,a\n1,a,b\n", "row 1 has 3 values"),
        ("x,s\n1,\"a\n", "row 0 has a quoted value that is not closed"),
        ("x,s\n1,\"a\"b\n", "goes on after its closing quote"),
        ("x,s\n1,\"a\"\"\n", "not closed"),
        ("x,\"s\n1,a", "the header has a quoted value"),
        ("x,s,x\n", "the column 'x' twice"),
    ] {
        let error = error(body);
        assert_eq!(*error.kind(), Kind::Malformed, "{body:?}");
        assert!(error.detail().contains(text), "{body:?}: {error}");
    }
    for bytes in [b"x,s\n1,\xff\n".as_slice(), b"x,s\n1,\xc3,\n"] {
        assert_eq!(*chunks(&[bytes], 10, OPTIONS).unwrap_err().kind(), Kind::Malformed);
    }
    // A quote in the middle is a character like any other.
    assert_eq!(texts(&batch("x,s\n1,5\" pipe\n")), [Some("5\" pipe")]);
}

#[test]
fn records_are_bounded() {
    let long = "a".repeat(996);
    assert_eq!(batch(&format!("x,s\n1,{long}\n")).num_rows(), 1);
    for body in [format!("x,s\n1,a\n1,{long}bc\n"), format!("x,s\n1,a\n1,\"{long}\n\n\n\n\n\n")] {
        let error = error(&body);
        assert_eq!(*error.kind(), Kind::TooLarge, "{error}");
        assert!(error.detail().starts_with("row 1 is longer than the 1000 bytes"), "{error}");
    }
    assert!(error(&format!("x,{long}{long}\n")).detail().starts_with("the header is longer"));
}

#[test]
fn rejected_rows_keep_their_bytes_and_the_others_go_on() {
    let options = StreamOptions { on_misfit: OnMisfit::Reject, ..OPTIONS };
    let body = b"x,f\r\n1,low\r\nNA,low\r\n2,\"a\nb\"\r\n3,high\r\n4\r\n5,\xff\r\n6,low";
    for max_rows in [1, 2, 100] {
        let chunks = chunks(&[body], max_rows, options).unwrap();
        let kept: Vec<f64> = (chunks.iter())
            .flat_map(|chunk| chunk.batch.column(0).as_primitive::<Float64Type>().values().to_vec())
            .collect();
        assert_eq!(kept, [1.0, 3.0, 6.0]);
        let rejected: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.rejected).collect();
        let raw: Vec<_> = rejected.iter().map(|row| (row.row, row.raw.as_ref())).collect();
        assert_eq!(raw, [(1, b"NA,low".as_slice()), (2, b"2,\"a\nb\""), (4, b"4"), (5, b"5,\xff")]);
        assert_eq!(rejected[1].error.cells().unwrap().listed[0].row, Some(2));
        assert_eq!(*rejected[2].error.kind(), Kind::Malformed);
    }
    let column = chunks(&[b"x,zz\n1,1\n"], 10, options).unwrap_err();
    assert_eq!(*column.kind(), Kind::Unprocessable, "a wrong column is the fault of no row");
}

#[test]
fn a_chunk_is_full_at_its_bytes_too() {
    let options = StreamOptions { chunk_bytes: 12, ..OPTIONS };
    let chunks = chunks(&[b"x,s\n1,aaaa\n2,aaaa\n3,aaaa\n4,\n"], 100, options).unwrap();
    let rows: Vec<_> = chunks.iter().map(|chunk| chunk.batch.num_rows()).collect();
    assert_eq!(rows, [2, 2]);
}

#[test]
fn columns_without_a_type_keep_what_the_first_chunk_found() {
    let mut decoder = CsvDecoder::new(Arc::new(Schema::untyped()), OPTIONS);
    decoder.push(b"a,b,c\n1,x,\n,,\n2,y,TRUE\n").unwrap();
    decoder.finish().unwrap();
    let types = |chunk: Chunk| -> Vec<String> {
        chunk.batch.schema_ref().fields().iter().map(|field| field.data_type().to_string()).collect()
    };
    assert_eq!(types(decoder.next_chunk(1).unwrap().unwrap()), ["Float64", "Utf8", "Boolean"]);
    assert_eq!(types(decoder.next_chunk(1).unwrap().unwrap()), ["Float64", "Utf8", "Boolean"]);
    assert_eq!(types(decoder.next_chunk(1).unwrap().unwrap()), ["Float64", "Utf8", "Boolean"]);
    assert!(decoder.next_chunk(1).unwrap().is_none());
}

fn written(columns: Vec<(&str, ArrayRef)>) -> String {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let (mut encoder, mut out) = (CsvEncoder::new(), Vec::new());
    encoder.header(batch.schema_ref(), &mut out).unwrap();
    encoder.encode(&batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn values_are_written_as_r_reads_them() {
    let text = written(vec![
        ("x", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NEG_INFINITY), Some(f64::NAN), None])) as ArrayRef),
        ("n", Arc::new(Int32Array::from(vec![Some(-3), None, Some(0), Some(7)]))),
        ("l", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None]))),
        ("a \"b\"", Arc::new(StringArray::from(vec![Some("plain"), Some("NA"), Some("a,\"b\"\n"), None]))),
        ("s", Arc::new(StringArray::from(vec![Some(""), Some(" x"), Some("1"), Some("ä")]))),
        ("d", Arc::new(Date32Array::from(vec![Some(0), None, Some(-1), Some(19_782)]))),
    ]);
    let expected = "x,n,l,\"a \"\"b\"\"\",s,d\n\
                    0.1,-3,TRUE,plain,\"\",1970-01-01\n\
                    -Inf,NA,FALSE,\"NA\",\" x\",NA\n\
                    NaN,0,NA,\"a,\"\"b\"\"\n\",1,1969-12-31\n\
                    NA,7,NA,NA,ä,2024-02-29\n";
    assert_eq!(text, expected);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_chunks(
        rows in prop::collection::vec(("[a\",\n\r é]{0,6}", any::<f64>()), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max_rows in 1..5_usize,
        chunk_bytes in 1..200_usize,
        broken in prop::option::of(any::<prop::sample::Index>()),
        reject in any::<bool>(),
    ) {
        let mut body = "\u{feff}s,x\r\n".to_owned();
        for (text, double) in &rows {
            body += &format!("\"{}\",{double:?}\r\n", text.replace('"', "\"\""));
        }
        let mut body = body.into_bytes();
        if let Some(broken) = broken {
            let at = broken.index(body.len());
            body.insert(at, b'"');
        }
        let on_misfit = if reject { OnMisfit::Reject } else { OnMisfit::Fail };
        let options = StreamOptions { on_misfit, chunk_bytes, ..OPTIONS };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        let show = |result: Result<Vec<Chunk>>| format!("{result:?}");
        prop_assert_eq!(show(chunks(&pieces, max_rows, options)), show(chunks(&[&body], max_rows, options)));
    }

    #[test]
    fn what_was_written_is_read_back(
        rows in prop::collection::vec((prop::num::f64::ANY, prop::option::of("\\PC{0,8}|[\",\r\n ]{0,4}|NA")), 1..20),
    ) {
        let x = Float64Array::from_iter_values(rows.iter().map(|(double, _)| *double));
        let s: StringArray = rows.iter().map(|(_, text)| text.as_deref()).collect();
        let text = written(vec![("x", Arc::new(x.clone())), ("s", Arc::new(s.clone()))]);
        let read = batch(&text);
        let bits = |array: &Float64Array| array.values().iter().map(|double| match double.is_nan() {
            true => u64::MAX,
            false => double.to_bits(),
        }).collect::<Vec<_>>();
        prop_assert_eq!(bits(read.column(0).as_primitive::<Float64Type>()), bits(&x));
        prop_assert_eq!(read.column(2).as_string::<i32>(), &s);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), reject in any::<bool>()) {
        let on_misfit = if reject { OnMisfit::Reject } else { OnMisfit::Fail };
        let _ = chunks(&[b"x,s\n", &bytes], 2, StreamOptions { on_misfit, ..OPTIONS });
    }
}
