//! Codecs: bodies to typed columns and predictions to bodies, for one row, where
//! the fixed part shows, and for a thousand. `cargo bench --bench codecs`

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{Float64Array, RecordBatch};
use criterion::{BenchmarkId, Criterion, Throughput};
use rscore::frame::csv::{CsvDecoder, CsvEncoder};
use rscore::frame::json::{DecodeOptions, NonFinite, decode, encode_predictions};
use rscore::frame::schema::{Column, ColumnType, InputSchemas, Inputs, Schema};
use rscore::frame::stream::{Decoder, Encoder, OnMisfit, StreamOptions};

/// Columns of the sample forest.
const COLUMNS: usize = 13;

/// Rows of a body.
const SIZES: [usize; 2] = [1, 1000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    json(&mut criterion);
    csv(&mut criterion);
    criterion.final_summary();
}

fn json(criterion: &mut Criterion) {
    let schemas: InputSchemas = Inputs::single(schema());
    let options = DecodeOptions { max_rows: 1_000_000, non_finite_strings: false };
    let mut group = criterion.benchmark_group("json");
    for rows in SIZES {
        let body = records(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_with_input(BenchmarkId::new("decode records", rows), &body, |bencher, body| {
            bencher.iter(|| decode(black_box(body.as_bytes()), &schemas, options).expect("good rows"));
        });
        let batch = predictions(rows);
        group.bench_with_input(BenchmarkId::new("encode predictions", rows), &batch, |bencher, batch| {
            bencher.iter(|| {
                let mut out = Vec::with_capacity(32 * rows);
                encode_predictions(black_box(batch), true, NonFinite::Null, &mut out).expect("numbers");
                out
            });
        });
    }
    group.finish();
}

fn csv(criterion: &mut Criterion) {
    let schema = Arc::new(schema());
    let options = StreamOptions {
        max_record_bytes: 1 << 20,
        max_message_bytes: 1 << 26,
        chunk_bytes: 1 << 26,
        on_misfit: OnMisfit::Fail,
        non_finite_strings: false,
    };
    let mut group = criterion.benchmark_group("csv");
    for rows in SIZES {
        let text = table(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_with_input(BenchmarkId::new("decode", rows), &text, |bencher, text| {
            bencher.iter(|| {
                let mut decoder = CsvDecoder::new(schema.clone(), options);
                decoder.push(black_box(text.as_bytes())).expect("a table");
                decoder.finish().expect("an end");
                decoder.next_chunk(rows).expect("good rows")
            });
        });
        let batch = predictions(rows);
        group.bench_with_input(BenchmarkId::new("encode", rows), &batch, |bencher, batch| {
            bencher.iter(|| {
                let (mut encoder, mut out) = (CsvEncoder::new(), Vec::with_capacity(32 * rows));
                encoder.header(batch.schema_ref(), &mut out).expect("a header");
                encoder.encode(black_box(batch), &mut out).expect("numbers");
                out
            });
        });
    }
    group.finish();
}

fn schema() -> Schema {
    let columns = (0..COLUMNS).map(|column| Column::new(name(column), ColumnType::Double)).collect();
    Schema { columns, ..Schema::default() }
}

fn name(column: usize) -> String {
    format!("column_{column}")
}

/// A number with as many digits as measurements have.
fn value(row: usize, column: usize) -> f64 {
    (row * COLUMNS + column) as f64 * 1.0137
}

fn records(rows: usize) -> String {
    let record = |row| {
        let fields: Vec<String> =
            (0..COLUMNS).map(|column| format!("\"{}\":{:.5}", name(column), value(row, column))).collect();
        format!("{{{}}}", fields.join(","))
    };
    format!("[{}]", (0..rows).map(record).collect::<Vec<_>>().join(","))
}

fn table(rows: usize) -> String {
    let mut text = (0..COLUMNS).map(name).collect::<Vec<_>>().join(",");
    for row in 0..rows {
        let fields: Vec<String> = (0..COLUMNS).map(|column| format!("{:.5}", value(row, column))).collect();
        let _ = write!(text, "\n{}", fields.join(","));
    }
    text + "\n"
}

fn predictions(rows: usize) -> RecordBatch {
    let values = Float64Array::from_iter_values((0..rows).map(|row| 21.0 + value(row, 0) / 7.0));
    RecordBatch::try_from_iter([("prediction", Arc::new(values) as _)]).expect("one column")
}
