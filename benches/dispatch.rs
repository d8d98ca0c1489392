//! What the front end does for a batch besides waiting for R: queue and policy,
//! joining, and the call's way to a worker and back. `cargo bench --bench dispatch`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Float64Array, RecordBatch};
use criterion::{BatchSize, BenchmarkId, Criterion};
use rscore::frame::join::join;
use rscore::frame::schema::Inputs;
use rscore::scoring::batching::{self, BatchLimits, Situation};
use rscore::scoring::cost::CostModel;
use rscore::scoring::drain::Batches;
use rscore::scoring::pacing::{self, Moment};
use rscore::scoring::queue::{Entry, Queue, QueueLimits};
use rscore::telemetry::context::RequestContext;
use rscore::worker::protocol::{PREAMBLE, ScoreCall, WorkerRequest, parse_preamble};
use tokio::sync::oneshot;

/// Columns of the sample forest.
const COLUMNS: usize = 13;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    policy(&mut criterion);
    queue(&mut criterion);
    batch(&mut criterion);
    criterion.final_summary();
}

fn policy(criterion: &mut Criterion) {
    let mut cost = CostModel::default();
    for rows in [1, 8, 64] {
        cost.observe(rows, Duration::from_micros(1700 + 10 * rows as u64));
    }
    let moment = Moment {
        queued_rows: 5,
        running_batches: 2,
        running_rows: 32,
        core_to_spare: false,
        held: Duration::from_micros(300),
        time_left: Duration::from_secs(30),
    };
    criterion.bench_function("policy/start", |bencher| {
        bencher.iter(|| pacing::start(black_box(&moment), &cost, 1024));
    });
    let limits = BatchLimits { max_rows: 1024, target_latency: Duration::from_millis(50) };
    let situation = Situation { queued_rows: 64, free_workers: 2, time_left: Duration::from_secs(30) };
    criterion.bench_function("policy/cap", |bencher| {
        bencher.iter(|| batching::cap(&limits, black_box(&situation), &cost));
    });
}

/// Requests of one row come, and leave as one batch.
fn queue(criterion: &mut Criterion) {
    let limits = QueueLimits { max_entries: 2048, max_rows: 1_000_000, max_bytes: 1 << 28, max_time: Duration::ZERO };
    for count in [16, 64] {
        criterion.bench_with_input(BenchmarkId::new("queue/push and take", count), &count, |bencher, count| {
            let entries = || (0..*count).map(|_| entry()).collect::<Vec<_>>();
            bencher.iter_batched(
                entries,
                |entries| {
                    let mut queue = Queue::new(limits);
                    for entry in entries {
                        queue.push(entry, &Batches::default()).expect("room");
                    }
                    queue.take_batch(1024, true, Instant::now())
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// Joining single rows, and a call of them as it is sent and received.
fn batch(criterion: &mut Criterion) {
    for rows in [1, 32] {
        let single = row();
        let parts = vec![&single; rows];
        criterion.bench_with_input(BenchmarkId::new("join", rows), &parts, |bencher, parts| {
            bencher.iter(|| join(black_box(parts)).expect("one schema"));
        });
        let call = ScoreCall { id: 1, inputs: Inputs::single(join(&parts).expect("one schema")) };
        criterion.bench_with_input(BenchmarkId::new("call/encode", rows), &call, |bencher, call| {
            bencher.iter(|| black_box(call).encode().expect("a small call"));
        });
        let message = call.encode().expect("a small call");
        criterion.bench_with_input(BenchmarkId::new("call/decode", rows), &message, |bencher, message| {
            let (preamble, rest) = message.as_bytes().split_first_chunk::<PREAMBLE>().expect("a preamble");
            let lengths = parse_preamble(preamble, usize::MAX).expect("lengths");
            let (head, body) = rest.split_at(lengths.head);
            bencher.iter(|| WorkerRequest::decode(black_box(head), black_box(body)).expect("a call"));
        });
    }
}

fn row() -> RecordBatch {
    let column = |column: usize| (format!("column_{column}"), Arc::new(Float64Array::from(vec![1.5])) as _);
    RecordBatch::try_from_iter((0..COLUMNS).map(column)).expect("columns of one length")
}

fn entry() -> Entry {
    let (answer, _) = oneshot::channel();
    let now = Instant::now();
    Entry {
        inputs: Inputs::single(row()),
        rows: 1,
        deadline: now + Duration::from_secs(30),
        arrived: now,
        context: RequestContext::untraced("bench"),
        answer,
    }
}
