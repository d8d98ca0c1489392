//! Few bytes that stand for much: what they may stand for is bounded before it is
//! there.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use arrow_array::builder::StringViewBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{BinaryArray, RecordBatchOptions, StructArray};
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::*;

fn arrow(bytes: &[u8], max_rows: usize) -> Result<Vec<Chunk>> {
    let pieces: Vec<_> = bytes.chunks(1000).collect();
    read(ArrowDecoder::new(Arc::new(schema()), OPTIONS), &pieces, max_rows)
}

fn parquet(bytes: &[u8], options: StreamOptions) -> Result<Vec<Chunk>> {
    read(ParquetDecoder::new(Arc::new(schema()), options), &[bytes], 1_000_000)
}

#[track_caller]
fn too_large(result: Result<Vec<Chunk>>, part: &str) {
    let error = result.unwrap_err();
    assert_eq!(*error.kind(), Kind::TooLarge, "{error}");
    assert!(error.detail().contains(part), "{error}");
}

/// A stream of batches with these rows of a dictionary whose `texts` first texts, of
/// 10 kB each, are there by then; earlier ones are not sent again.
fn growing(texts: impl Iterator<Item = usize>, rows: usize) -> Vec<u8> {
    let long: Vec<String> = (0..100).map(|n| format!("{n:010000}")).collect();
    let batches = texts.map(|texts| {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values(&long[..texts]));
        let array = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; rows]), values);
        batch_of(vec![("s", Arc::new(array) as ArrayRef)])
    });
    let batches: Vec<_> = batches.collect();
    let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batches[0].schema_ref(), options).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn dictionaries_are_bounded_in_all() {
    for rows in [0, 1] {
        let bytes = growing(1..8, rows);
        assert!(bytes.len() < 80_000, "{} bytes: earlier texts are not sent again", bytes.len());
        assert_eq!(arrow(&bytes, 1).unwrap().iter().map(|chunk| chunk.batch.num_rows()).sum::<usize>(), 7 * rows);
        too_large(arrow(&growing(1..30, rows), 1), "dictionaries");
    }
    // A dictionary in the place of another doesn't add to it.
    let replaced = growing((0..100).map(|n| 1 + n % 2 * 4), 1);
    assert!(replaced.len() > 1_000_000);
    let mut decoder = ArrowDecoder::new(Arc::new(schema()), OPTIONS);
    for piece in replaced.chunks(1000) {
        decoder.push(piece).unwrap();
        while decoder.next_chunk(1).unwrap().is_some() {}
        assert!(decoder.buffered() < 70_000, "{} bytes", decoder.buffered());
    }
    assert!(decoder.buffered() > 10_000, "{} bytes of a dictionary are held", decoder.buffered());
}

#[test]
fn dictionaries_are_not_copied_without_end() {
    let first = "a".repeat(1_000_000);
    let stream = |parts: usize| {
        let texts: Vec<String> = (0..parts).map(|n| format!("{n:08}")).collect();
        let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
        let mut writer: Option<StreamWriter<Vec<u8>>> = None;
        for count in 0..parts {
            let values = std::iter::once(first.as_str()).chain(texts[..count].iter().map(String::as_str));
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
            let array = DictionaryArray::<Int32Type>::new(Int32Array::from(Vec::<i32>::new()), values);
            let batch = batch_of(vec![("s", Arc::new(array) as ArrayRef)]);
            let begin = || StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options.clone()).unwrap();
            writer.get_or_insert_with(begin).write(&batch).unwrap();
        }
        writer.unwrap().into_inner().unwrap()
    };
    let options = StreamOptions { max_message_bytes: 10_000_000, ..OPTIONS };
    let read = |bytes: &[u8]| read(ArrowDecoder::new(Arc::new(schema()), options), &[bytes], 1);
    assert_eq!(read(&stream(100)).unwrap().len(), 1);
    let many = stream(1000);
    assert!(many.len() < 2_000_000, "{} bytes", many.len());
    too_large(read(&many), "too often");
}

#[test]
fn rows_that_take_no_bytes_are_bounded() {
    for rows in [16_000, 1_000_000_000] {
        let nulls: ArrayRef = Arc::new(NullArray::new(rows));
        let nulls = batch_of(vec![("x", nulls)]);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let nothing = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options).unwrap();
        for batch in [nulls, nothing] {
            let bytes = encoded(ArrowEncoder::new(), &[batch]);
            assert!(bytes.len() < 1000);
            match arrow(&bytes, 20_000) {
                Ok(chunks) => assert_eq!((rows, chunks[0].batch.num_rows()), (16_000, 16_000)),
                error => too_large(error, "claims 1000000000 rows"),
            }
        }
    }
    let wide = (0..2000).map(|n| (format!("x{n}"), Arc::new(NullArray::new(10_000)) as ArrayRef, true));
    let wide = RecordBatch::try_from_iter_with_nullable(wide).unwrap();
    let bytes = encoded(ArrowEncoder::new(), &[wide]);
    let schema = Schema { columns: Vec::new(), unknown_columns: UnknownColumns::Pass };
    let options = StreamOptions { max_message_bytes: 1 << 24, ..OPTIONS };
    too_large(read(ArrowDecoder::new(Arc::new(schema), options), &[&bytes], 10_000), "lack more than");
}

#[test]
fn buffers_that_overlap_are_refused() {
    let column =
        |from: f64| Arc::new(Float64Array::from_iter_values((0..800).map(|n| from + f64::from(n)))) as ArrayRef;
    let mut bytes = encoded(ArrowEncoder::new(), &[batch_of(vec![("x", column(0.5)), ("n", column(0.0))])]);
    let place = |bytes: &[u8], numbers: &[i64]| {
        let pattern: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let places: Vec<_> = (0..bytes.len() - pattern.len()).filter(|at| bytes[*at..].starts_with(&pattern)).collect();
        assert_eq!(places.len(), 1, "{numbers:?}");
        places[0]
    };
    // The second column gets the bytes of the first, and the body loses its own.
    let second = place(&bytes, &[6400, 0, 6400, 6400]) + 16;
    bytes[second..second + 8].copy_from_slice(&0_i64.to_le_bytes());
    let body = place(&bytes, &[12_800]);
    bytes[body..body + 8].copy_from_slice(&6400_i64.to_le_bytes());
    let end = bytes.len() - 8;
    bytes.drain(end - 6400..end);
    let error = arrow(&bytes, 1000).unwrap_err();
    assert_eq!(*error.kind(), Kind::Malformed);
    assert!(error.detail().contains("its buffers overlap"), "{error}");
}

fn dictionary(keys: Vec<Option<i32>>, text: &str) -> ArrayRef {
    let values: ArrayRef = Arc::new(StringArray::from_iter_values([text]));
    Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys), values))
}

#[test]
fn texts_are_bounded_in_all_columns_together() {
    let columns = ["a", "b"].map(|name| Column::new(name, ColumnType::Character));
    let schema = Schema { columns: columns.to_vec(), unknown_columns: UnknownColumns::Error };
    let text = "a".repeat(10_000);
    let stream = |rows: usize| {
        let column = || dictionary(vec![Some(0); rows], &text);
        let body = encoded(ArrowEncoder::new(), &[batch_of(vec![("a", column()), ("b", column())])]);
        read(ArrowDecoder::new(Arc::new(schema.clone()), OPTIONS), &[&body], 1000)
    };
    assert_eq!(stream(4).unwrap()[0].batch.num_rows(), 4);
    too_large(stream(8), "the texts of the column 'b'");
}

#[test]
fn what_stands_under_a_null_is_no_text() {
    let text = "a".repeat(10_000);
    let keys = std::iter::once(Some(0)).chain(std::iter::repeat_n(None, 100)).collect();
    let batch = one(vec![("s", dictionary(keys, &text))]);
    assert_eq!((batch.num_rows(), batch.column(2).null_count()), (101, 100));
}

fn file(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn what_a_parquet_file_inflates_to_is_not_taken_from_its_footer() {
    let zeros = batch_of(vec![("x", Arc::new(Float64Array::from(vec![0.0; 90_000])) as ArrayRef)]);
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    let honest = file(&zeros, properties.set_compression(Compression::ZSTD(Default::default())).build());
    assert!(honest.len() < 5000);
    too_large(parquet(&honest, OPTIONS), "inflates to columns");
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(honest.clone())).unwrap();
    let mut footer = metadata.into_builder();
    let groups = footer.take_row_groups().into_iter().map(|group| {
        let mut group = group.into_builder().set_total_byte_size(1000);
        let columns = group.take_columns().into_iter();
        let columns = columns.map(|column| column.into_builder().set_total_uncompressed_size(1000).build().unwrap());
        group.set_column_metadata(columns.collect()).build().unwrap()
    });
    let metadata = footer.set_row_groups(groups.collect()).build();
    // The new footer stands after the old one; the last is the one that counts.
    let mut lying = honest;
    ParquetMetaDataWriter::new(&mut lying, &metadata).finish().unwrap();
    too_large(parquet(&lying, OPTIONS), "inflates to columns");
}

#[test]
fn values_of_parquet_that_take_no_bytes_are_bounded() {
    let nulls = batch_of(vec![("x", Arc::new(Float64Array::from(vec![None; 200_000])) as ArrayRef)]);
    let bytes = file(&nulls, WriterProperties::default());
    assert!(bytes.len() < 2000);
    too_large(parquet(&bytes, OPTIONS), "inflates to columns");
}

#[test]
fn columns_that_nothing_can_hold_are_not_decoded() {
    let values: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![7_u8; 80_000]]));
    let binary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; 40_000]), values));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 40_000]));
    let file = |name| {
        let batch = batch_of(vec![(name, Arc::clone(&binary)), ("x", Arc::clone(&x))]);
        let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let error = parquet(&file("s"), OPTIONS).unwrap_err();
    assert_eq!(error.cells().unwrap().listed[0].got, "the Arrow type Binary", "{error}");
    let schema = Schema { unknown_columns: UnknownColumns::Ignore, ..schema() };
    let chunks = read(ParquetDecoder::new(Arc::new(schema), OPTIONS), &[&file("other")], 100_000).unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.batch.num_rows()).sum::<usize>(), 40_000);
    assert_eq!(chunks[0].batch.num_columns(), 7);
    assert!(chunks[0].warnings[0].contains("'other'"), "{:?}", chunks[0].warnings);
}

#[test]
fn texts_that_share_their_beginnings_are_bounded() {
    let text = "a".repeat(20_000);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..90).map(|n| format!("{text}{n}"))));
    let factors = texts.len();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let bytes = file(&batch_of(vec![("f", texts)]), properties.build());
    assert!(bytes.len() < 100_000 && factors * text.len() > 4 * OPTIONS.max_message_bytes);
    too_large(parquet(&bytes, OPTIONS), "inflates to texts");
}

#[test]
fn texts_of_every_width_are_read() {
    let texts = || ["high", "low", "high"].into_iter();
    let arrays: [ArrayRef; 5] = [
        Arc::new(StringArray::from_iter_values(texts())),
        Arc::new(LargeStringArray::from_iter_values(texts())),
        Arc::new(StringViewArray::from_iter_values(texts())),
        Arc::new(texts().collect::<DictionaryArray<Int8Type>>()),
        Arc::new(DictionaryArray::<Int32Type>::new(
            Int32Array::from(vec![1, 0, 1]),
            Arc::new(LargeStringArray::from_iter_values(["low", "high"])),
        )),
    ];
    for array in arrays {
        let batch = one(vec![("f", array)]);
        assert_eq!(batch.column(3).as_dictionary::<Int32Type>().keys().values(), &[1, 0, 1]);
    }
}

#[test]
fn columns_are_counted_before_their_names_are_compared() {
    let x: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let columns = (0..12_000).map(|n| (format!("c{n}"), Arc::clone(&x), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let bytes = encoded(ArrowEncoder::new(), &[batch]);
    let options = StreamOptions { max_message_bytes: 1 << 24, ..OPTIONS };
    let mut decoder = ArrowDecoder::new(Arc::new(schema()), options);
    let error = decoder.push(&bytes).unwrap_err();
    assert!(error.detail().contains("columns that the model does not know"), "{error}");
}

/// A message with a schema of so many fields, which all are the same one.
fn crowded(fields: usize) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let name = builder.create_string(&"n".repeat(10_000));
    let kind = arrow_ipc::NullBuilder::new(&mut builder).finish();
    let mut field = arrow_ipc::FieldBuilder::new(&mut builder);
    field.add_name(name);
    field.add_nullable(true);
    field.add_type_type(arrow_ipc::Type::Null);
    field.add_type_(kind.as_union_value());
    let field = field.finish();
    let fields = builder.create_vector(&vec![field; fields]);
    let mut schema = arrow_ipc::SchemaBuilder::new(&mut builder);
    schema.add_fields(fields);
    let schema = schema.finish();
    let mut message = arrow_ipc::MessageBuilder::new(&mut builder);
    message.add_version(arrow_ipc::MetadataVersion::V5);
    message.add_header_type(arrow_ipc::MessageHeader::Schema);
    message.add_header(schema.as_union_value());
    let message = message.finish();
    builder.finish(message, None);
    let mut bytes = builder.finished_data().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xff; 4], &(message.len() as u32).to_le_bytes()[..], message].concat()
}

#[test]
fn a_schema_is_not_many_times_its_bytes() {
    const REFUSED: &str = "stands for far more than its bytes";
    let error = arrow(&framed(&crowded(500)), 1).unwrap_err();
    assert!(error.detail().contains(REFUSED), "{error}");
    let end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let error = arrow(&[&framed(&crowded(2))[..], &end].concat(), 1).unwrap_err();
    assert!(error.detail().contains("twice"), "{error}");

    let file = |fields: usize| {
        let hint = BASE64_STANDARD.encode(framed(&crowded(fields)));
        let hint = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint);
        let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![hint])).build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let batch = batch_of(vec![("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef)]);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let error = parquet(&file(500), OPTIONS).unwrap_err();
    assert!(error.detail().contains(REFUSED), "{error}");
    let error = parquet(&file(2), OPTIONS).unwrap_err();
    assert!(!error.detail().contains(REFUSED), "{error}");
}

#[test]
fn lengths_that_are_differences_are_no_more_than_their_values() {
    let texts = (0..100).map(|n| (n % 7 > 0).then(|| format!("a text, number {n}")));
    let batch = batch_of(vec![("s", Arc::new(StringArray::from_iter(texts)) as ArrayRef)]);
    // Blocks of 128 in 4 parts, and 85 texts.
    let head = [0x80, 1, 4, 85];
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for (encoding, heads) in [(Encoding::DELTA_LENGTH_BYTE_ARRAY, 1), (Encoding::DELTA_BYTE_ARRAY, 2)] {
            let properties = WriterProperties::builder().set_writer_version(version).set_dictionary_enabled(false);
            let properties = properties.set_column_encoding("s".into(), encoding).build();
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            let file = writer.into_inner().unwrap();
            let chunks = parquet(&file, OPTIONS).unwrap();
            assert_eq!(chunks[0].batch.column_by_name("s").unwrap().null_count(), 15, "{encoding:?} {version:?}");
            let places: Vec<_> = file.windows(head.len()).enumerate().filter(|(_, found)| *found == head).collect();
            assert_eq!(places.len(), heads, "{encoding:?}");
            for (place, _) in places {
                let mut more = file.clone();
                more[place + 3..][..5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
                let error = parquet(&more, OPTIONS).unwrap_err();
                assert!(error.detail().contains("the lengths of its texts are broken"), "{error}");
            }
        }
    }
}

#[test]
fn views_do_not_name_a_long_text_too_often() {
    let views = |rows: usize, length: usize| {
        let text = "a".repeat(length);
        let mut builder = StringViewBuilder::new().with_deduplicate_strings();
        (0..rows).for_each(|_| builder.append_value(&text));
        Arc::new(builder.finish()) as ArrayRef
    };
    let written = |batch: RecordBatch| {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    // The number of buffers before the views counts.
    let stream = |views: ArrayRef| {
        let before: ArrayRef = Arc::new(StringArray::from(vec!["b"; views.len()]));
        written(batch_of(vec![("a", before), ("s", views)]))
    };
    let keyed = |values: ArrayRef| {
        let keys = Int32Array::from(vec![0; 3]);
        batch_of(vec![("s", Arc::new(DictionaryArray::<Int32Type>::new(keys, values)) as ArrayRef)])
    };
    let options = StreamOptions { max_message_bytes: 1 << 20, ..OPTIONS };
    let schema = || Arc::new(Schema { unknown_columns: UnknownColumns::Ignore, ..schema() });
    let read =
        |bytes: &[u8]| read(ArrowDecoder::new(schema(), options), &bytes.chunks(999).collect::<Vec<_>>(), 10_000);
    assert_eq!(read(&stream(views(1000, 1000))).unwrap()[0].batch.num_rows(), 1000);
    let many = stream(views(5000, 100_000));
    assert!(many.len() < 300_000, "{} bytes", many.len());
    too_large(read(&many), "too often");

    assert!(read(&written(keyed(views(3, 100)))).is_ok());
    too_large(read(&written(keyed(views(5000, 100_000)))), "too often");
    let fields = vec![Field::new("v", DataType::Utf8View, true)].into();
    let nested = StructArray::new(fields, vec![views(3, 100)], None);
    let error = read(&written(batch_of(vec![("nested", Arc::new(nested) as ArrayRef)]))).unwrap_err();
    assert!(error.detail().contains("nested"), "{error}");
}
