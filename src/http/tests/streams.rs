//! Bodies that are scored while they arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use tokio::sync::Semaphore;

use super::formats::{body, predictions};
use super::harness::{Client, EVERYTHING, Reply, Request, Scripted, Setup, TestServer, doubled};
use crate::error::{Error, Kind, Overload};
use crate::frame::format::Format;
use crate::http::coding::Coding;
use crate::lifecycle::Drained;

const PATH: &str = "/models/double/predict";

fn setup() -> Setup {
    let setup = Setup::new().settings(|settings| {
        settings.limits.stream_rows = 2;
        settings.limits.max_body_bytes = 64 * 1024;
    });
    setup.model("double", 1, Scripted::doubling().joining())
}

fn head(format: Format) -> Request {
    let request = Request::new("POST", PATH).scope(EVERYTHING).header("Content-Type", format.media_type());
    request.header("Accept", format.media_type()).header("Transfer-Encoding", "chunked")
}

async fn begin(server: &TestServer, request: Request) -> Client {
    let mut client = server.connect().await;
    client.write(&request.head()).await;
    client
}

async fn send(client: &mut Client, bytes: &[u8]) {
    client.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
    client.write(bytes).await;
    client.write(b"\r\n").await;
}

/// The body of an answer, and whether it came to its end.
async fn rest(client: &mut Client) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match client.chunk().await {
            Ok(Some(bytes)) => body.extend(bytes),
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
    }
}

/// Sends a whole body in chunks and reads the whole answer.
async fn exchange(server: &TestServer, request: Request, bytes: &[u8]) -> (Reply, Vec<u8>, bool) {
    let mut client = begin(server, request).await;
    for piece in bytes.chunks(1000) {
        send(&mut client, piece).await;
    }
    client.write(b"0\r\n\r\n").await;
    let reply = client.reply().await;
    if reply.header("content-length").is_some() {
        let body = reply.body.clone();
        return (reply, body, true);
    }
    let (body, complete) = rest(&mut client).await;
    (reply, body, complete)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_answered_while_others_arrive() {
    let server = setup().start().await;
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n3").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("content-length")), (200, None));
    assert_eq!(client.chunk().await.expect("a chunk").expect("bytes"), b"prediction\n2.0\n4.0\n");
    send(&mut client, b".5\n4\n").await;
    assert_eq!(client.chunk().await.expect("a chunk").expect("bytes"), b"7.0\n8.0\n");
    send(&mut client, b"5").await;
    client.write(b"0\r\n\r\n").await;
    assert_eq!(rest(&mut client).await, (b"10.0\n".to_vec(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_in_every_format_and_coding() {
    let server = setup().settings(|settings| settings.limits.stream_rows = 100).start().await;
    let values: Vec<f64> = (0..20_000).map(|n| f64::from(n) / 3.0).collect();
    let expected: Vec<f64> = values.iter().map(|value| value * 2.0).collect();
    for format in [Format::Csv, Format::Ndjson, Format::Arrow] {
        let plain = match format {
            // Batches of Arrow are bounded like bodies.
            Format::Arrow => body(format, &values[..5000]),
            _ => body(format, &values),
        };
        let expected = if format == Format::Arrow { &expected[..5000] } else { &expected };
        assert!(format == Format::Arrow || plain.len() > 3 * 64 * 1024, "{} bytes", plain.len());
        for (sent, asked) in [(Coding::Identity, Format::Json), (Coding::Gzip, Format::Csv), (Coding::Zstd, format)] {
            let request = head(format).header("Accept", asked.media_type());
            let request = request.header("Content-Encoding", sent.name()).header("Accept-Encoding", sent.name());
            let bytes = sent.deflate(plain.clone()).expect("compresses");
            let (reply, answer, complete) = exchange(&server, request, &bytes).await;
            assert_eq!((reply.status, complete), (200, true), "{format} {sent:?}: {}", reply.text());
            assert_eq!(reply.header("content-encoding").unwrap_or("identity"), sent.name());
            let mut permit = crate::http::admission::Admission::new(1, 1 << 24).enter().expect("a place");
            let answer = sent.inflate(&answer, 1 << 24, &mut permit).expect("inflates");
            assert!(predictions(asked, &answer) == expected, "{format} to {asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_first_is_refused_and_later_breaks_the_answer_off() {
    let server = setup().start().await;
    let (reply, _, _) = exchange(&server, head(Format::Csv), b"x\n1\na\n3\n4\n5\n").await;
    let problem = reply.is_problem(422, "unprocessable");
    assert_eq!(problem["errors"][0]["row"], 1);
    for later in ["3\na\n5\n", "3\n4,5\n", "3\n\"4\n"] {
        let mut client = begin(&server, head(Format::Csv)).await;
        send(&mut client, b"x\n1\n2\n").await;
        assert_eq!(client.reply().await.status, 200);
        send(&mut client, later.as_bytes()).await;
        client.write(b"0\r\n\r\n").await;
        assert_eq!(rest(&mut client).await, (b"prediction\n2.0\n4.0\n".to_vec(), false), "{later}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_length_is_known_to_fit_is_refused_as_a_whole() {
    let server = setup().start().await;
    let request = Request::post(PATH, "x\n1\n2\n3\na\n5\n").header("Content-Type", "text/csv");
    let problem = server.send(request).await.is_problem(422, "unprocessable");
    assert_eq!(problem["errors"][0]["row"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_stops_while_scoring_is_behind() {
    let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::new((AtomicUsize::new(0), AtomicUsize::new(0))));
    let scorer = {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        Scripted::new(move |request| {
            let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
            async move {
                let now = calls.0.fetch_add(1, Ordering::SeqCst) + 1;
                calls.1.fetch_max(now, Ordering::SeqCst);
                let _permit = gate.acquire().await.expect("open");
                calls.0.fetch_sub(1, Ordering::SeqCst);
                Ok(doubled(&request))
            }
        })
    };
    scorer.ready.store(3, Ordering::Relaxed);
    let server = setup()
        .settings(|settings| settings.limits.stream_rows = 100)
        .model("double", 1, scorer.joining())
        .start()
        .await;
    let values: Vec<f64> = (0..200_000).map(f64::from).collect();
    let bytes = body(Format::Ndjson, &values);
    let client = begin(&server, head(Format::Ndjson)).await;
    let (mut reading, mut writing) = tokio::io::split(client.stream);
    let written = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for piece in bytes.chunks(8000) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            writing.write_all(&chunk).await.expect("sent");
        }
        writing.write_all(b"0\r\n\r\n").await.expect("sent");
        writing
    });
    let full = async {
        while calls.0.load(Ordering::SeqCst) < 6 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), full).await.expect("two chunks for each of three workers");
    gate.add_permits(1_000_000);
    let answer = async {
        use tokio::io::AsyncReadExt;
        let mut all = Vec::new();
        while !all.ends_with(b"\r\n0\r\n\r\n") {
            assert!(reading.read_buf(&mut all).await.expect("read") > 0, "the answer ended early");
        }
        all
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an answer");
    drop(written.await.expect("all was sent"));
    let lines = answer.windows(3).filter(|window| *window == b".0\n").count();
    assert_eq!(lines, values.len());
    assert_eq!(calls.1.load(Ordering::SeqCst), 6, "never more at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_in_bytes_records_and_time() {
    let server = setup()
        .settings(|settings| {
            settings.limits.max_stream_bytes = 5000;
            settings.limits.max_record_bytes = 100;
            settings.server.body_timeout = Duration::from_millis(200);
        })
        .start()
        .await;
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n").await;
    assert_eq!(client.reply().await.status, 200);
    send(&mut client, "3\n".repeat(2500).as_bytes()).await;
    assert!(!rest(&mut client).await.1, "more bytes than a stream may have");
    let request = head(Format::Csv).header("Content-Encoding", "gzip");
    let bomb = Coding::Gzip.deflate(vec![b'\n'; 1 << 20]).expect("compresses");
    exchange(&server, request, &bomb).await.0.is_problem(413, "too-large");
    let record = format!("x\n{}\n", "1".repeat(200));
    exchange(&server, head(Format::Csv), record.as_bytes()).await.0.is_problem(413, "too-large");
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n").await;
    client.reply().await.is_problem(408, "body-timeout");
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert!(!rest(&mut client).await.1, "a body that stops is broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_a_row_counts_as_memory_for_bodies() {
    let server = setup().settings(|settings| settings.limits.max_record_bytes = 4 << 20).start().await;
    let blank = " ".repeat(1 << 20);
    exchange(&server, head(Format::Ndjson), blank.as_bytes()).await.0.is_problem(429, "overloaded");
    let lines = "\n".repeat(1 << 20) + "{\"x\":1}";
    let (reply, answer, _) = exchange(&server, head(Format::Ndjson), lines.as_bytes()).await;
    assert_eq!((reply.status, predictions(Format::Ndjson, &answer)), (200, vec![2.0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_body_that_stands_still() {
    let mut server = setup().start().await;
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n").await;
    assert_eq!(client.reply().await.status, 200);
    server.begin_stop();
    assert!(!rest(&mut client).await.1, "the answer is broken off");
    assert_eq!(server.stopped().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_memory_for_bodies_that_come_as_a_whole() {
    let server = setup().start().await;
    let mut streams = Vec::new();
    let refused = loop {
        let mut client = begin(&server, head(Format::Csv)).await;
        send(&mut client, b"x\n1\n2\n").await;
        let reply = client.reply().await;
        if reply.status != 200 {
            break reply;
        }
        streams.push(client);
        assert!(streams.len() < 8, "four of eight parts are for streams");
    };
    refused.is_problem(429, "overloaded");
    assert!(streams.len() >= 4, "{} streams", streams.len());
    let whole = format!("x\n{}", "1\n".repeat(30_000));
    let request = Request::post(PATH, whole).header("Content-Type", "text/csv");
    assert_eq!(server.send(request).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_change_within_an_answer_break_it_off() {
    let calls = AtomicUsize::new(0);
    let scorer = Scripted::new(move |request| {
        let turned = calls.fetch_add(1, Ordering::SeqCst) > 0;
        async move {
            let mut scored = doubled(&request);
            let values = Arc::clone(scored.batch.column(0));
            let names = if turned { ["b", "a"] } else { ["a", "b"] };
            let columns = names.map(|name| (name, Arc::clone(&values), true));
            scored.batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
            scored.unnamed = false;
            Ok(scored)
        }
    });
    let server = setup().model("double", 1, scorer.joining()).start().await;
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n").await;
    assert_eq!(client.reply().await.status, 200);
    send(&mut client, b"3\n4\n").await;
    client.write(b"0\r\n\r\n").await;
    assert_eq!(rest(&mut client).await, (b"a,b\n2.0,2.0\n4.0,4.0\n".to_vec(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_middle_of_an_answer_breaks_that_one_off() {
    let scorer = Scripted::new(|request| async move {
        let scored = doubled(&request);
        assert!(scored.batch.num_rows() > 1, "scripted panic on the last row");
        Ok(scored)
    });
    let server = setup().model("double", 1, scorer.joining()).start().await;
    let mut client = begin(&server, head(Format::Csv)).await;
    send(&mut client, b"x\n1\n2\n").await;
    assert_eq!(client.reply().await.status, 200);
    send(&mut client, b"3\n").await;
    client.write(b"0\r\n\r\n").await;
    assert_eq!(rest(&mut client).await, (b"prediction\n2.0\n4.0\n".to_vec(), false));
    let (_, answer, complete) = exchange(&server, head(Format::Csv), b"x\n1\n2\n3\n4\n").await;
    assert_eq!((answer, complete), (b"prediction\n2.0\n4.0\n6.0\n8.0\n".to_vec(), true), "the next one is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_delays_a_stream_that_has_begun() {
    let calls = AtomicUsize::new(0);
    let scorer = Scripted::new(move |request| {
        let refused = [2, 3].contains(&calls.fetch_add(1, Ordering::SeqCst));
        async move {
            let full = || {
                let kind = Kind::Overloaded { what: Overload::Queue, retry_after: Duration::from_secs(1) };
                Error::new(kind, "the queue is full")
            };
            if refused { Err(full()) } else { Ok(doubled(&request)) }
        }
    });
    let server = setup().model("double", 1, scorer.joining()).start().await;
    let values: Vec<f64> = (0..11).map(f64::from).collect();
    let (_, answer, complete) = exchange(&server, head(Format::Ndjson), &body(Format::Ndjson, &values)).await;
    assert!(complete);
    assert_eq!(predictions(Format::Ndjson, &answer), values.iter().map(|value| value * 2.0).collect::<Vec<_>>());
    let busy = Scripted::new(|_| async {
        let kind = Kind::Overloaded { what: Overload::Queue, retry_after: Duration::from_secs(1) };
        Err(Error::new(kind, "the queue is full"))
    });
    let server = setup().model("double", 1, busy.joining()).start().await;
    exchange(&server, head(Format::Csv), b"x\n1\n").await.0.is_problem(429, "overloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_rows_depend_on_each_other_gets_them_all_at_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let scorer = Scripted::new(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(doubled(&request)) }
    });
    let server = setup().model("double", 1, scorer).start().await;
    let (reply, answer, _) = exchange(&server, head(Format::Csv), b"x\n1\n2\n3\n4\n5\n").await;
    assert!(reply.header("content-length").is_some());
    assert_eq!(predictions(Format::Csv, &answer), [2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let long = body(Format::Csv, &(0..20_000).map(f64::from).collect::<Vec<_>>());
    exchange(&server, head(Format::Csv), &long).await.0.is_problem(413, "too-large");
}
