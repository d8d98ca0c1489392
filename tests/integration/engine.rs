//! One suite for every engine, spoken over the worker's own socket: the fake in
//! a thread, R in a process that a zygote forked.

mod fake;

use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Float64Array, RecordBatch, StringArray};
use rscore::frame::schema::Inputs;
use rscore::worker::protocol::{
    Allotment, Collected, ExitStatus, LoadRequest, ScoreCall, ScoreReply, WorkerRequest, ZygoteReply, ZygoteRequest,
    decode_plain, encode_plain,
};
use rscore::worker::scoring_loop;
use rscore::worker::transport::{receive_async, send_async, send_with_descriptors};
use tokio::net::UnixStream;

use self::fake::FakeEngine;

/// Largest message of these tests in bytes.
const LIMIT: usize = 1 << 20;

/// The scoring script that makes R behave as [`FakeEngine`] does.
const SCRIPT: &str = r#"
load <- function(dir) structure(list(), class = "fake")
descend <- function(n) descend(n + 1)
score <- function(model, data) {
  what <- if (nrow(data)) data$what[1] else "double"
  if (what == "stop") stop("you asked for it")
  if (what == "recurse") descend(1)
  if (what == "warn") warning("mind the gap")
  if (what == "drop") return(2 * data$x[-1])
  2 * data$x
}
"#;

fn call(id: u64, what: &str, x: &[Option<f64>]) -> ScoreCall {
    let batch = RecordBatch::try_from_iter([
        ("what", Arc::new(StringArray::from(vec![what; x.len()])) as _),
        ("x", Arc::new(x.iter().copied().collect::<Float64Array>()) as _),
    ])
    .unwrap();
    ScoreCall { id, inputs: Inputs::single(batch) }
}

async fn ask(stream: &mut UnixStream, call: &ScoreCall) -> ScoreReply {
    send_async(stream, &call.encode().unwrap()).await.unwrap();
    let received = receive_async(stream, LIMIT).await.unwrap().expect("an answer");
    ScoreReply::decode(&received.head, &received.body).unwrap()
}

fn values(reply: &ScoreReply) -> Vec<Option<u64>> {
    let batch = &reply.outcome.as_ref().unwrap().batch;
    batch.column(0).as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)).collect()
}

/// What every engine must do. Ends with a call after which the worker leaves.
async fn conforms(stream: &mut UnixStream) {
    // Values, NA, NaN and negative zero come through to the bit; ids are echoed.
    let x = [Some(0.1), None, Some(f64::NAN), Some(-0.0), Some(f64::MAX), Some(5e-324)];
    let reply = ask(stream, &call(7, "double", &x)).await;
    assert_eq!(reply.id, 7);
    let doubled: Vec<Option<u64>> = x.iter().map(|x| x.map(|x| (x * 2.0).to_bits())).collect();
    assert_eq!(values(&reply), doubled);
    assert!(reply.outcome.unwrap().unnamed);
    assert!(reply.warnings.is_empty());
    assert!(reply.convert_nanoseconds > 0 && reply.score_nanoseconds > 0);

    // No rows are rows too.
    assert_eq!(values(&ask(stream, &call(8, "double", &[])).await), []);

    // An error is an answer: class, message and call. The worker goes on.
    let reply = ask(stream, &call(9, "stop", &[Some(1.0)])).await;
    assert!(!reply.retire);
    let condition = reply.outcome.unwrap_err();
    assert_eq!(condition.class, ["simpleError", "error", "condition"]);
    assert_eq!(condition.message, "you asked for it");
    assert_eq!(condition.call.as_deref(), Some("score(model, data)"));

    // Warnings come along with the values.
    let reply = ask(stream, &call(10, "warn", &[Some(1.0)])).await;
    assert_eq!(reply.warnings, ["mind the gap"]);
    assert_eq!(values(&reply), [Some(2f64.to_bits())]);

    // A wrong number of rows is for the front end to judge.
    assert_eq!(values(&ask(stream, &call(11, "drop", &[Some(1.0), Some(2.0)])).await), [Some(4f64.to_bits())]);

    // Between calls it collects garbage when it is asked to, and says when it has.
    send_async(stream, &WorkerRequest::Collect { id: 77 }.encode().unwrap()).await.unwrap();
    let received = receive_async(stream, LIMIT).await.unwrap().expect("an answer");
    assert_eq!(decode_plain::<Collected>(&received.head).unwrap(), Collected { id: 77 });
    assert_eq!(values(&ask(stream, &call(13, "double", &[Some(3.0)])).await), [Some(6f64.to_bits())]);

    // After endless recursion the engine answers and asks to be replaced.
    let reply = ask(stream, &call(12, "recurse", &[Some(1.0)])).await;
    assert!(reply.outcome.is_err());
    assert!(reply.retire);
    assert!(receive_async(stream, LIMIT).await.unwrap().is_none(), "the worker has left");
}

#[tokio::test]
async fn the_fake_engine_conforms() {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let worker = std::thread::spawn(move || scoring_loop::run(&mut FakeEngine, &mut theirs, LIMIT));
    conforms(&mut UnixStream::from_std(ours).unwrap()).await;
    worker.join().unwrap().unwrap();
}

#[tokio::test]
async fn the_r_engine_conforms() {
    let bundle = tempfile::tempdir().unwrap();
    let script = bundle.path().join("score.R");
    std::fs::write(&script, SCRIPT).unwrap();
    let mut zygote = Zygote::start();

    zygote
        .ask(&ZygoteRequest::Load(LoadRequest {
            directory: bundle.path().to_str().unwrap().to_owned(),
            script: Some(script.to_str().unwrap().to_owned()),
            packages: Vec::new(),
            predict: Vec::new(),
            inputs: vec!["data".to_owned()],
            seed: None,
            max_reply_bytes: LIMIT,
        }))
        .await;
    let ZygoteReply::Loaded(loaded) = zygote.answer().await else { panic!("not loaded") };
    assert_eq!(loaded.class, ["fake"]);
    assert_eq!(loaded.columns, None);
    assert!(loaded.warnings.is_empty());

    let mut worker = zygote.fork(1).await;
    conforms(&mut worker).await;
    assert_eq!(zygote.answer().await, ZygoteReply::Exited { id: 1, status: ExitStatus::Code(0) });

    // A worker that is killed is reported as such, and the zygote forks on.
    let mut worker = zygote.fork(2).await;
    assert_eq!(values(&ask(&mut worker, &call(1, "double", &[Some(4.0)])).await), [Some(8f64.to_bits())]);
    let pid = rustix::process::Pid::from_raw(zygote.last_pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(zygote.answer().await, ZygoteReply::Exited { id: 2, status: ExitStatus::Signal(9) });
    drop(zygote.fork(3).await);
    assert_eq!(zygote.answer().await, ZygoteReply::Exited { id: 3, status: ExitStatus::Code(0) });

    // When the control socket closes the zygote ends and its workers with it.
    let mut last = zygote.fork(4).await;
    drop(zygote.control);
    assert!(zygote.process.wait().await.unwrap().success());
    assert!(receive_async(&mut last, LIMIT).await.map_or(true, |message| message.is_none()));
}

/// A real `rscore worker` and its control socket.
struct Zygote {
    process: tokio::process::Child,
    control: UnixStream,
    last_pid: i32,
}

impl Zygote {
    fn start() -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let process = tokio::process::Command::new(env!("CARGO_BIN_EXE_rscore"))
            .arg("worker")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, control: UnixStream::from_std(ours).unwrap(), last_pid: 0 }
    }

    async fn ask(&mut self, request: &ZygoteRequest) {
        send_async(&mut self.control, &encode_plain(request).unwrap()).await.unwrap();
    }

    async fn answer(&mut self) -> ZygoteReply {
        let message = receive_async(&mut self.control, 0).await.unwrap().expect("the zygote answers");
        decode_plain(&message.head).unwrap()
    }

    async fn fork(&mut self, id: u64) -> UnixStream {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let message = encode_plain(&ZygoteRequest::Fork { id, allotment: Allotment::default() }).unwrap();
        // It prints where the test does.
        let (output, error) = (std::io::stdout(), std::io::stderr());
        let descriptors = [theirs.as_fd(), output.as_fd(), error.as_fd()];
        send_with_descriptors(&self.control, &message, &descriptors).await.unwrap();
        drop(theirs);
        match self.answer().await {
            ZygoteReply::Forked { id: forked, pid } if forked == id => self.last_pid = pid,
            other => panic!("not forked: {other:?}"),
        }
        UnixStream::from_std(ours).unwrap()
    }
}
