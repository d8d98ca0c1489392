//! Rows in every format, and bodies far larger than the server would hold, scored
//! by R: the predictions are R's own, bit for bit.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use rscore::frame::format::Format;
use rscore::frame::schema::{Column, ColumnType, Schema};
use rscore::frame::stream::{EncodeOptions, OnMisfit, StreamOptions, decoder, encoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use crate::support::bundle::run_r;
use crate::support::client::{Request, read_head};
use crate::support::setup::Setup;
use crate::support::within_deadline;

const MODEL: &str = "lm(mpg ~ wt + hp + am, transform(mtcars, am = factor(am, labels = c('auto', 'manual, 5\"'))))";

/// Writes rows, what R predicts for them, and the rows as text with all digits.
const ROWS: &str = r#"
arguments <- commandArgs(TRUE)
set.seed(7)
n <- as.integer(arguments[[2L]])
data <- data.frame(
  am = factor(sample(c("auto", "manual, 5\""), n, TRUE), levels = c("auto", "manual, 5\"")),
  wt = round(runif(n, 1, 6) * 1024) / 1024, hp = sample(50:330, n, TRUE)
)
data$wt[seq(3L, n, by = 50L)] <- NA
model <- lm(mpg ~ wt + hp + am, transform(mtcars, am = factor(am, labels = levels(data$am))))
options(digits = 15)
write.csv(data, file.path(arguments[[1L]], "rows.csv"), row.names = FALSE)
stopifnot(identical(read.csv(file.path(arguments[[1L]], "rows.csv"))$wt, data$wt))
writeBin(unname(predict(model, data)), file.path(arguments[[1L]], "expected.bin"), endian = "little")
"#;

/// R's rows as CSV, and the bits of its predictions; `None` is NA.
fn rows(directory: &Path, count: usize) -> (String, Vec<Option<u64>>) {
    run_r(ROWS, &[directory.to_str().unwrap(), &count.to_string()]);
    let bytes = std::fs::read(directory.join("expected.bin")).unwrap();
    let doubles = bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    let bits = doubles.map(|double| (!double.is_nan()).then(|| double.to_bits())).collect();
    (std::fs::read_to_string(directory.join("rows.csv")).unwrap(), bits)
}

fn schema(columns: Vec<Column>) -> Arc<Schema> {
    Arc::new(Schema { columns, ..Schema::default() })
}

/// A whole body in that format as one batch.
fn read(format: Format, bytes: &[u8], schema: Arc<Schema>) -> RecordBatch {
    let options = StreamOptions {
        max_record_bytes: 1000,
        max_message_bytes: 1 << 26,
        chunk_bytes: usize::MAX,
        on_misfit: OnMisfit::Fail,
        non_finite_strings: false,
    };
    let mut decoder = decoder(format, schema, options).unwrap();
    decoder.push(bytes).unwrap();
    decoder.finish().unwrap();
    decoder.next_chunk(usize::MAX).unwrap().unwrap().batch
}

fn written(format: Format, batch: &RecordBatch) -> Vec<u8> {
    let (mut encoder, mut out) = (encoder(format, EncodeOptions::default()), Vec::new());
    encoder.header(batch.schema_ref(), &mut out).unwrap();
    encoder.encode(batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    out
}

/// Bits of the predictions in an answer.
fn bits(format: Format, bytes: &[u8]) -> Vec<Option<u64>> {
    let of_json = |value: &serde_json::Value| value.as_f64().map(f64::to_bits);
    match format {
        Format::Json => {
            let answer: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            answer["predictions"].as_array().unwrap().iter().map(of_json).collect()
        }
        Format::Ndjson => {
            let lines = std::str::from_utf8(bytes).unwrap().lines();
            lines.map(|line| of_json(&serde_json::from_str(line).unwrap())).collect()
        }
        _ => {
            let batch = read(format, bytes, schema(vec![Column::new("prediction", ColumnType::Double)]));
            let doubles = batch.column(0).as_primitive::<Float64Type>();
            (0..doubles.len()).map(|row| doubles.is_valid(row).then(|| doubles.value(row).to_bits())).collect()
        }
    }
}

#[tokio::test]
async fn every_format_gives_the_numbers_of_r() {
    let server = Setup::new().train("line", MODEL).start().await;
    let directory = tempfile::tempdir().unwrap();
    let (text, expected) = rows(directory.path(), 500);
    let mut am = Column::new("am", ColumnType::Factor);
    am.levels = vec!["auto".to_owned(), "manual, 5\"".to_owned()];
    let columns = vec![Column::new("wt", ColumnType::Double), Column::new("hp", ColumnType::Integer), am];
    let batch = read(Format::Csv, text.as_bytes(), schema(columns));
    for sent in Format::ALL {
        // CSV as R wrote it, the others as they are written here.
        let body = if sent == Format::Csv { text.clone().into_bytes() } else { written(sent, &batch) };
        for asked in Format::ALL {
            let request = Request::predict("line", body.clone()).header("Content-Type", sent.media_type());
            let reply = server.send(request.header("Accept", asked.media_type())).await;
            assert_eq!(reply.status, 200, "{sent} to {asked}: {}", reply.text());
            assert!(bits(asked, &reply.body) == expected, "{sent} to {asked}");
            if (sent, asked) == (Format::Csv, Format::Csv) {
                std::fs::write(directory.path().join("answer.csv"), &reply.body).unwrap();
            }
        }
    }
    let same = "p <- commandArgs(TRUE)[[1L]]; got <- read.csv(file.path(p, 'answer.csv'))$prediction; \
                wanted <- readBin(file.path(p, 'expected.bin'), 'double', 500L, endian = 'little'); \
                cat(identical(got, wanted))";
    assert_eq!(run_r(same, &[directory.path().to_str().unwrap()]), "TRUE", "R reads its own numbers in the answer");
}

/// Bytes of a row's line end and of what is sent at a time.
const PIECE: usize = 32 * 1024;

#[tokio::test]
async fn a_body_of_many_times_the_limit_is_scored_in_bounded_memory() {
    const LIMIT: usize = 1024 * 1024;
    const REPEATS: usize = 24;
    let setup = Setup::new().train("line", MODEL).workers(2);
    let server = setup.settings(|settings| settings.limits.max_body_bytes = LIMIT).run().await;
    let directory = tempfile::tempdir().unwrap();
    let (text, expected) = rows(directory.path(), 40_000);
    let (header, block) = text.split_once('\n').unwrap();
    assert!(block.len() * REPEATS > 16 * LIMIT, "the body has {} bytes", block.len() * REPEATS);

    // Once for the memory that a server keeps anyway.
    let small = Request::predict("line", format!("{header}\n{}", &block[..block.find('\n').unwrap() + 1]));
    assert_eq!(server.send(small.header("Content-Type", "text/csv")).await.status, 200);
    let before = peak_memory(server.id());

    let request = server.authorised(Request::predict("line", ""));
    let request = request.without("Content-Length").header("Content-Type", "text/csv").header("Accept", "text/csv");
    let mut connection = server.connect().await;
    connection.write(&request.header("Transfer-Encoding", "chunked").head()).await;
    let (mut reading, mut writing) = split(connection.stream);
    let body = [header, "\n"].concat().into_bytes();
    let block = Arc::new(block.as_bytes().to_vec());
    let sending = tokio::spawn(async move {
        let blocks = (0..REPEATS).flat_map(|_| block.chunks(PIECE));
        for piece in std::iter::once(body.as_slice()).chain(blocks) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            writing.write_all(&chunk).await.unwrap();
        }
        writing.write_all(b"0\r\n\r\n").await.unwrap();
        writing.flush().await.unwrap();
        writing
    });
    let head = within_deadline("the head of the answer", read_head(&mut reading)).await;
    assert_eq!(head.status, 200);
    let answer = async {
        let mut answer = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(reading.read_u8().await.unwrap());
            }
            let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
            let start = answer.len();
            answer.resize(start + length + 2, 0);
            reading.read_exact(&mut answer[start..]).await.unwrap();
            answer.truncate(start + length);
            if length == 0 {
                return answer;
            }
        }
    };
    let answer = answer.await;
    drop(sending.await.unwrap());
    let grown = peak_memory(server.id()) - before;
    let got = bits(Format::Csv, &answer);
    assert_eq!(got.len(), expected.len() * REPEATS);
    assert!(got.chunks(expected.len()).all(|block| block == expected), "the predictions are not those of R");
    assert!(grown < 16 * LIMIT, "the server's memory grew by {grown} bytes");
}

/// The most resident memory that a process has had, in bytes.
fn peak_memory(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    kilobytes.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_model_error_after_the_beginning_breaks_the_answer_off() {
    let script = "score <- function(model, data) { if (any(data$x == 5)) stop('five is right out'); data$x * 2 }";
    let manifest = "row_independent = true\n[columns]\nx = \"double\"\n";
    let setup = Setup::new().script("picky", script).file("picky", "rscore.toml", manifest);
    let server = setup.settings(|settings| settings.limits.stream_rows = 2).start().await;
    let request = server.authorised(Request::predict("picky", "")).without("Content-Length");
    let request = request.header("Content-Type", "application/x-ndjson").header("Accept", "application/x-ndjson");
    let mut connection = server.connect().await;
    connection.write(&request.header("Transfer-Encoding", "chunked").head()).await;
    for row in 0..8 {
        let line = format!("{{\"x\":{row}}}\n");
        connection.write(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await;
    }
    connection.write(b"0\r\n\r\n").await;
    let head = within_deadline("the head of the answer", read_head(&mut connection.stream)).await;
    assert_eq!(head.status, 200);
    let mut rest = Vec::new();
    let _ = within_deadline("the end of the answer", connection.stream.read_to_end(&mut rest)).await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "the answer has an end: {rest}");
    assert!(!rest.contains("10.0"), "{rest}");
}
