//! Every format of bodies and of answers, and what is refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};

use super::harness::{Request, Setup, info};
use crate::frame::format::Format;
use crate::frame::schema::{Column, ColumnType, Inputs, Schema};
use crate::frame::stream::{EncodeOptions, OnMisfit, StreamOptions, decoder, encoder};

const PATH: &str = "/models/double/predict";
const VALUES: [f64; 3] = [0.1, -7.0, 1e300];

fn column(name: &str, values: &[f64]) -> RecordBatch {
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([(name, values)]).expect("a batch")
}

/// Rows of `x` in that format.
pub(super) fn body(format: Format, values: &[f64]) -> Vec<u8> {
    let batch = column("x", values);
    let (mut encoder, mut out) = (encoder(format, EncodeOptions::default()), Vec::new());
    encoder.header(batch.schema_ref(), &mut out).expect("a header");
    encoder.encode(&batch, &mut out).expect("rows");
    encoder.finish(&mut out).expect("an end");
    out
}

/// The only column of an answer in that format.
pub(super) fn predictions(format: Format, bytes: &[u8]) -> Vec<f64> {
    let text = || std::str::from_utf8(bytes).expect("UTF-8");
    match format {
        Format::Json => {
            let answer: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!((&answer["model"], &answer["version"]), (&"double".into(), &1.into()));
            answer["predictions"].as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
        }
        Format::Ndjson => text().lines().map(|line| line.parse().expect("a number")).collect(),
        _ => {
            let schema = Schema { columns: vec![Column::new("prediction", ColumnType::Double)], ..Schema::default() };
            let options = StreamOptions {
                max_record_bytes: 100,
                max_message_bytes: 1 << 20,
                chunk_bytes: usize::MAX,
                on_misfit: OnMisfit::Fail,
                non_finite_strings: false,
            };
            let mut decoder = decoder(format, Arc::new(schema), options).expect("not JSON");
            decoder.push(bytes).expect("an answer");
            decoder.finish().expect("the end of an answer");
            let mut values = Vec::new();
            while let Some(chunk) = decoder.next_chunk(usize::MAX).expect("rows") {
                values.extend_from_slice(chunk.batch.column(0).as_primitive::<Float64Type>().values());
            }
            values
        }
    }
}

fn post(format: Format, values: &[f64]) -> Request {
    Request::post(PATH, body(format, values)).header("Content-Type", format.media_type())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_format_is_answered_in_any_format() {
    let server = Setup::new().start().await;
    for sent in Format::ALL {
        for asked in Format::ALL {
            let reply = server.send(post(sent, &VALUES).header("Accept", asked.media_type())).await;
            assert_eq!(reply.status, 200, "{sent} to {asked}: {}", reply.text());
            let content_type = reply.header("content-type").expect("a type");
            assert!(content_type.starts_with(asked.media_type()), "{content_type}");
            assert!(reply.header("server-timing").is_some());
            let doubled: Vec<f64> = VALUES.iter().map(|value| value * 2.0).collect();
            assert_eq!(predictions(asked, &reply.body), doubled, "{sent} to {asked}");
        }
        let reply = server.send(post(sent, &[])).await;
        assert_eq!(predictions(Format::Json, &reply.body), [0.0; 0], "no rows as {sent}");
    }
    let reply = server.send(post(Format::Json, &VALUES[..2]).header("Accept", "text/csv")).await;
    assert_eq!(reply.text(), "prediction\n0.2\n-14.0\n");
    let reply = server.send(post(Format::Csv, &VALUES[..2]).header("Accept", "application/x-ndjson")).await;
    assert_eq!(reply.text(), "0.2\n-14.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_alike_in_every_format() {
    let server = Setup::new().settings(|settings| settings.limits.max_rows = 2).start().await;
    for (format, wrong) in [(Format::Csv, "x\n1\na\n"), (Format::Ndjson, "{\"x\":1}\n{\"x\":\"a\"}\n")] {
        let reply = server.send(post(format, &[]).body(wrong)).await;
        let problem = reply.is_problem(422, "unprocessable");
        assert_eq!((&problem["errors"][0]["row"], &problem["errors"][0]["column"]), (&1.into(), &"x".into()));
    }
    for format in Format::ALL {
        server.send(post(format, &VALUES)).await.is_problem(413, "too-large");
        let reply = server.send(post(format, &[]).body("\"")).await;
        reply.is_problem(400, "malformed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_inputs_are_json_only() {
    let mut several = info();
    several.schemas =
        Inputs::named(vec![("history".to_owned(), Schema::default()), ("future".to_owned(), Schema::default())]);
    let setup = Setup::new().model_with("several", 1, super::harness::Scripted::doubling(), several);
    let server = setup.start().await;
    let request = Request::post("/models/several/predict", "x\n1\n").header("Content-Type", "text/csv");
    let problem = server.send(request).await.is_problem(415, "unsupported-media-type");
    assert!(problem["detail"].as_str().expect("text").contains("several inputs"), "{problem}");
}
