//! What the Arrow and Parquet codecs promise. Files of other writers are read in
//! `tests/clients`.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bounds;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Date64Array, DictionaryArray, Float32Array, Float64Array, Int32Array,
    Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use proptest::prelude::*;

use super::{ArrowDecoder, ArrowEncoder};
use crate::error::{CellError, Error, Kind, Result};
use crate::frame::parquet::{ParquetDecoder, ParquetEncoder};
use crate::frame::schema::{Column, ColumnType, Schema, UnknownColumns};
use crate::frame::stream::{Chunk, Decoder, Encoder, OnMisfit, StreamOptions};
use crate::frame::testing::{STREAM, read};

const OPTIONS: StreamOptions = StreamOptions { max_message_bytes: 100_000, ..STREAM };

fn schema() -> Schema {
    let mut columns: Vec<Column> = [
        ("x", ColumnType::Double),
        ("n", ColumnType::Integer),
        ("s", ColumnType::Character),
        ("f", ColumnType::Factor),
        ("d", ColumnType::Date),
        ("t", ColumnType::Timestamp),
        ("l", ColumnType::Logical),
    ]
    .into_iter()
    .map(|(name, kind)| Column::new(name, kind))
    .collect();
    columns[3].levels = vec!["low".to_owned(), "high".to_owned()];
    Schema { columns, unknown_columns: UnknownColumns::Error }
}

fn batch_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn encoded(mut encoder: impl Encoder, batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.header(batches[0].schema_ref(), &mut out).unwrap();
    for batch in batches {
        encoder.encode(batch, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

/// The chunks of the batches through both formats, which agree.
fn through(batches: &[RecordBatch], max_rows: usize, options: StreamOptions) -> Result<Vec<Chunk>> {
    let (arrow, parquet) = (encoded(ArrowEncoder::new(), batches), encoded(ParquetEncoder::new(), batches));
    let arrow = read(ArrowDecoder::new(Arc::new(schema()), options), &[&arrow], max_rows);
    let parquet = read(ParquetDecoder::new(Arc::new(schema()), options), &[&parquet], max_rows);
    assert_eq!(format!("{arrow:?}"), format!("{parquet:?}"));
    arrow
}

fn one(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let mut chunks = through(&[batch_of(columns)], 1000, OPTIONS).unwrap();
    assert_eq!(chunks.len(), 1);
    chunks.remove(0).batch
}

fn misfits(columns: Vec<(&str, ArrayRef)>) -> Vec<CellError> {
    let error = through(&[batch_of(columns)], 1000, OPTIONS).unwrap_err();
    assert_eq!(*error.kind(), Kind::Unprocessable, "{error}");
    error.cells().unwrap().listed.clone()
}

#[test]
fn types_that_hold_the_same_values_are_cast() {
    let day = 86_400_000;
    let dictionary: DictionaryArray<Int8Type> = ["high", "low", "high"].into_iter().collect();
    let batch = one(vec![
        ("x", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)])) as ArrayRef),
        ("n", Arc::new(Float64Array::from(vec![1.0, -0.0, 2_147_483_647.0]))),
        ("s", Arc::new(StringViewArray::from(vec![Some("a"), None, Some("")]))),
        ("f", Arc::new(dictionary)),
        ("d", Arc::new(Date64Array::from(vec![0, day, -day]))),
        ("t", Arc::new(TimestampNanosecondArray::from(vec![1499, 1500, -500]))),
        ("l", Arc::new(NullArray::new(3))),
    ]);
    assert_eq!(batch.schema_ref().field(3).data_type(), &ColumnType::Factor.data_type().unwrap());
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.0), None, Some(-3.0)]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().values(), &[1, 0, i32::MAX]);
    assert_eq!(batch.column(3).as_dictionary::<Int32Type>().keys().values(), &[1, 0, 1]);
    assert_eq!(batch.column(5).as_primitive::<TimestampMicrosecondType>().values(), &[1, 2, 0]);
    assert_eq!(batch.column(6).null_count(), 3);
    let batch = one(vec![
        ("x", Arc::new(Float32Array::from(vec![0.1_f32])) as ArrayRef),
        ("n", Arc::new(Int64Array::from(vec![-5]))),
        ("f", Arc::new(LargeStringArray::from(vec!["low"]))),
        ("d", Arc::new(Date32Array::from(vec![7]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00"))),
        ("s", Arc::new(StringArray::from(vec!["ä"]))),
        ("l", Arc::new(BooleanArray::from(vec![true]))),
    ]);
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().value(0).to_bits(), f64::from(0.1_f32).to_bits());
    assert_eq!(batch.column(5).as_primitive::<TimestampMicrosecondType>().value(0), 5000);
    assert_eq!(batch.num_columns(), 7);
}

#[test]
fn misfits_name_row_and_column() {
    let listed = misfits(vec![
        ("x", Arc::new(UInt64Array::from(vec![1, (1 << 53) + 1])) as ArrayRef),
        ("n", Arc::new(Float64Array::from(vec![0.5, 1.0]))),
        ("f", Arc::new(StringArray::from(vec!["low", "mid"]))),
    ]);
    let told: Vec<_> = listed.iter().map(|m| (m.row.unwrap(), m.column.as_str(), m.got.as_str())).collect();
    assert_eq!(told, [(1, "x", "9007199254740993"), (0, "n", "0.5"), (1, "f", "\"mid\"")]);
    let listed = misfits(vec![
        ("x", Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
        ("d", Arc::new(TimestampMillisecondArray::from(vec![5]))),
        ("zz", Arc::new(Int32Array::from(vec![1]))),
    ]);
    let told: Vec<_> = listed.iter().map(|m| (m.row, m.column.as_str(), m.got.as_str())).collect();
    let expected = [
        (None, "zz", "an unknown column"),
        (None, "x", "the Arrow type Utf8"),
        (None, "d", "the Arrow type Timestamp(ms)"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn rows_are_rejected_one_by_one() {
    let options = StreamOptions { on_misfit: OnMisfit::Reject, ..OPTIONS };
    let columns = |from: i32| {
        batch_of(vec![
            ("n", Arc::new(Float64Array::from_iter_values((from..from + 4).map(|n| f64::from(n) / 2.0))) as ArrayRef),
            ("f", Arc::new(StringArray::from(vec!["low", "mid", "mid", "high"]))),
        ])
    };
    for max_rows in [1, 3, 100] {
        let chunks = through(&[columns(0), columns(4)], max_rows, options).unwrap();
        let rejected: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.rejected).collect();
        let rows: Vec<_> = rejected.iter().map(|row| (row.row, row.error.cells().unwrap().count)).collect();
        assert_eq!(rows, [(1, 2), (2, 1), (3, 1), (5, 2), (6, 1), (7, 1)]);
        assert_eq!(chunks.iter().map(|chunk| chunk.batch.num_rows()).sum::<usize>(), 2);
    }
    let wrong = batch_of(vec![("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
    assert_eq!(*through(&[wrong], 10, options).unwrap_err().kind(), Kind::Unprocessable);
}

#[test]
fn messages_files_and_texts_are_bounded() {
    let doubles = |rows: usize| batch_of(vec![("x", Arc::new(Float64Array::from(vec![1.5; rows])) as ArrayRef)]);
    let too_large = |result: Result<Vec<Chunk>>| -> Error {
        let error = result.unwrap_err();
        assert_eq!(*error.kind(), Kind::TooLarge, "{error}");
        error
    };
    let bytes = encoded(ArrowEncoder::new(), &[doubles(20_000)]);
    let error = too_large(read(ArrowDecoder::new(Arc::new(schema()), OPTIONS), &[&bytes], 10));
    assert!(error.detail().contains("write smaller batches"), "{error}");
    let bytes = encoded(ArrowEncoder::new(), &vec![doubles(1000); 20]);
    let mut decoder = ArrowDecoder::new(Arc::new(schema()), OPTIONS);
    for piece in bytes.chunks(4000) {
        decoder.push(piece).unwrap();
        while decoder.next_chunk(1000).unwrap().is_some() {}
        assert!(decoder.buffered() < 16_000, "{} bytes", decoder.buffered());
    }
    let file = encoded(ParquetEncoder::new(), &[doubles(20_000)]);
    read(ParquetDecoder::new(Arc::new(schema()), OPTIONS), &[&file], 100_000).expect("the same value over again");
    let distinct = batch_of(vec![("x", Arc::new(Float64Array::from_iter_values((0..20_000).map(f64::from))) as _)]);
    let file = encoded(ParquetEncoder::new(), &[distinct]);
    too_large(read(ParquetDecoder::new(Arc::new(schema()), OPTIONS), &[&file], 100_000));
    // A small file may stand for any amount of text.
    let long = "a".repeat(10_000);
    let texts = batch_of(vec![("s", Arc::new(StringArray::from(vec![long.as_str(); 100])) as ArrayRef)]);
    let file = encoded(ParquetEncoder::new(), &[texts]);
    assert!(file.len() < 20_000);
    let error = too_large(read(ParquetDecoder::new(Arc::new(schema()), OPTIONS), &[&file], 100_000));
    assert!(error.detail().contains("the texts of the column 's'"), "{error}");
}

#[test]
fn streams_without_rows_and_what_is_none() {
    let empty = batch_of(vec![("x", Arc::new(Float64Array::from(Vec::<f64>::new())) as ArrayRef)]);
    let chunks = through(&[empty], 10, OPTIONS).unwrap();
    assert_eq!((chunks.len(), chunks[0].batch.num_rows(), chunks[0].batch.num_columns()), (1, 0, 7));
    let whole = encoded(ArrowEncoder::new(), &[batch_of(vec![("x", Arc::new(Float64Array::from(vec![1.0])) as _)])]);
    for bytes in [&b""[..], b"x,y\n1,2\n", &whole[..whole.len() - 20], &whole[..10]] {
        let error = read(ArrowDecoder::new(Arc::new(schema()), OPTIONS), &[bytes], 10).unwrap_err();
        assert!(matches!(error.kind(), Kind::Malformed | Kind::TooLarge), "{error}");
        let error = read(ParquetDecoder::new(Arc::new(schema()), OPTIONS), &[bytes], 10).unwrap_err();
        assert_eq!(*error.kind(), Kind::Malformed, "{error}");
    }
}

#[test]
fn later_batches_take_the_columns_of_the_first() {
    let doubles = batch_of(vec![("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef)]);
    let integers = batch_of(vec![("x", Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef)]);
    let nothing = batch_of(vec![("x", Arc::new(BooleanArray::from(vec![None])) as ArrayRef)]);
    let chunks = through(&[doubles.clone(), integers, nothing], 10, OPTIONS).unwrap();
    let read: Vec<_> = chunks[0].batch.column(0).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(read, [Some(0.5), Some(7.0), None, None]);
    let texts = batch_of(vec![("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
    let (mut encoder, mut out) = (ArrowEncoder::new(), Vec::new());
    encoder.header(doubles.schema_ref(), &mut out).unwrap();
    assert_eq!(*encoder.encode(&texts, &mut out).unwrap_err().kind(), Kind::Internal);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_chunks(
        batches in prop::collection::vec(prop::collection::vec(any::<f64>(), 0..5), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max_rows in 1..8_usize,
        chunk_bytes in 1..2000_usize,
    ) {
        let batches: Vec<_> = batches.into_iter()
            .map(|doubles| batch_of(vec![("x", Arc::new(Float64Array::from(doubles)) as ArrayRef)]))
            .collect();
        let body = encoded(ArrowEncoder::new(), &batches);
        let options = StreamOptions { chunk_bytes, ..OPTIONS };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        let decoder = || ArrowDecoder::new(Arc::new(schema()), options);
        let show = |result: Result<Vec<Chunk>>| format!("{result:?}");
        prop_assert_eq!(show(read(decoder(), &pieces, max_rows)), show(read(decoder(), &[&body], max_rows)));
    }

    #[test]
    fn broken_bytes_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), parquet in any::<bool>()) {
        let batch = batch_of(vec![
            ("x", Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec!["a", "b"]))),
        ]);
        let mut body = if parquet { encoded(ParquetEncoder::new(), &[batch]) } else { encoded(ArrowEncoder::new(), &[batch]) };
        let at = at.index(body.len());
        body[at] = byte;
        if parquet {
            let _ = read(ParquetDecoder::new(Arc::new(schema()), OPTIONS), &[&body], 1);
        } else {
            let _ = read(ArrowDecoder::new(Arc::new(schema()), OPTIONS), &[&body], 1);
        }
    }
}
