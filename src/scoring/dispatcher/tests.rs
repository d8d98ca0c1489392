//! The dispatcher under a clock that stands still until everybody waits: what
//! happens when, to the millisecond of tokio's timers, on workers by script.

mod scripted;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::task::yield_now;
use tokio::time::sleep;

use self::scripted::{CRASHES, Call, FAILS, HANGS, IS_SLOW, PANICS, SLOW_CALL, Script, column, numbers};
use super::*;

/// A call of a model whose rows cost nothing.
const CALL: Duration = Duration::from_millis(2);
const ROW: Duration = Duration::ZERO;

const MINUTE: Duration = Duration::from_secs(60);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn settings() -> DispatchSettings {
    DispatchSettings {
        model: Arc::from("scripted"),
        version: 1,
        rows_like: None,
        batch: BatchLimits { max_rows: 1024, target_latency: ms(50) },
        max_delay: Duration::ZERO,
        split_rows: 256,
        audit_every: 0,
        cores: 2,
        quarantine: QuarantineLimits { max_entries: 10, time: MINUTE },
        queue: QueueLimits { max_entries: 1000, max_rows: 10_000, max_bytes: 1 << 20 },
        background: Background::new(),
    }
}

fn start(script: &Arc<Script>, settings: DispatchSettings) -> Arc<Dispatcher<Script>> {
    let dispatcher = Dispatcher::start(settings, script.clone(), ScoringSlots::new(script.size()));
    dispatcher.allow_joining();
    Arc::new(dispatcher)
}

/// A request that is on its way; its answer, and when it came.
type Sent = JoinHandle<(Result<Vec<f64>>, Duration)>;

fn send(dispatcher: &Arc<Dispatcher<Script>>, x: f64, within: Duration) -> Sent {
    let dispatcher = dispatcher.clone();
    let deadline = now() + within;
    tokio::spawn(async move {
        let inputs = Inputs::single(column([x]));
        let scored =
            dispatcher.score(ScoreRequest { inputs, deadline, context: RequestContext::untraced("test") }).await;
        (scored.map(|scored| numbers(&scored.batch)), dispatcher.shared.pool.elapsed())
    })
}

/// Lets all that was begun go on until it waits for the clock, which stands still.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

async fn answer(sent: Sent) -> (Result<Vec<f64>>, Duration) {
    sent.await.expect("no panic")
}

async fn ok(sent: Sent) -> f64 {
    answer(sent).await.0.expect("predictions")[0]
}

async fn kind(sent: Sent) -> Kind {
    answer(sent).await.0.expect_err("an error").kind().clone()
}

fn sizes(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.rows.len()).collect()
}

/// Teaches the dispatcher what calls cost, with one call of a row and one of many.
async fn teach(dispatcher: &Arc<Dispatcher<Script>>) {
    for rows in [1, 50] {
        let inputs = Inputs::single(column((0..rows).map(f64::from)));
        let request = ScoreRequest { inputs, deadline: now() + MINUTE, context: RequestContext::untraced("lesson") };
        dispatcher.score(request).await.expect("predictions");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_adds_no_delay() {
    let script = Script::new(2, CALL, ROW);
    let dispatcher = start(&script, settings());
    let (result, at) = send(&dispatcher, 21.0, MINUTE).await.expect("no panic");
    assert_eq!(result.expect("predictions"), [42.0]);
    assert_eq!(at, CALL);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_in_the_queue() {
    let script = Script::new(1, ms(500), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let hurried = send(&dispatcher, 2.0, ms(100));
    let patient = send(&dispatcher, 3.0, MINUTE);
    let (result, at) = answer(hurried).await;
    assert_eq!((result.expect_err("too late").kind(), at), (&Kind::DeadlineExceeded, ms(100)));
    assert_eq!((ok(first).await, ok(patient).await), (2.0, 6.0));
    assert_eq!(script.calls().iter().map(|call| call.rows.clone()).collect::<Vec<_>>(), [[1.0], [3.0]]);
}

#[tokio::test(start_paused = true)]
async fn earlier_deadlines_are_served_first() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher =
        start(&script, DispatchSettings { batch: BatchLimits { max_rows: 1, ..settings().batch }, ..settings() });
    let sent: Vec<Sent> =
        [(1.0, 1000), (2.0, 900), (3.0, 500), (4.0, 700)].map(|(x, within)| send(&dispatcher, x, ms(within))).into();
    for sent in sent {
        ok(sent).await;
    }
    let order: Vec<f64> = script.calls().iter().map(|call| call.rows[0]).collect();
    assert_eq!(order, [1.0, 3.0, 4.0, 2.0], "the first found the worker idle");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_not_scored() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let (leaves, stays) = (send(&dispatcher, 2.0, MINUTE), send(&dispatcher, 3.0, MINUTE));
    settle().await;
    leaves.abort();
    assert_eq!((ok(first).await, ok(stays).await), (2.0, 6.0));
    assert_eq!(script.calls()[1].rows, [3.0]);
}

#[tokio::test(start_paused = true)]
async fn max_delay_gathers_until_it_is_over_or_the_batch_full() {
    let script = Script::new(1, CALL, ROW);
    let batch = BatchLimits { max_rows: 4, ..settings().batch };
    let dispatcher = start(&script, DispatchSettings { max_delay: ms(10), batch, ..settings() });
    let mut sent = Vec::new();
    for x in 0..3 {
        sent.push(send(&dispatcher, f64::from(x), MINUTE));
        sleep(ms(3)).await;
    }
    for sent in sent {
        ok(sent).await;
    }
    assert_eq!(script.calls(), [Call { at: ms(10), rows: vec![0.0, 1.0, 2.0] }]);
    let before = script.elapsed();
    let sent: Vec<Sent> = (0..4).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    for sent in sent {
        ok(sent).await;
    }
    assert_eq!(script.calls()[1].at, before, "four rows are a full batch");
}

/// A batch of 16 runs, and a second worker is idle.
async fn beside_a_large_batch(cores: usize) -> (Arc<Script>, Arc<Dispatcher<Script>>, Duration) {
    let script = Script::new(2, CALL, ROW);
    let dispatcher = start(&script, DispatchSettings { cores, ..settings() });
    teach(&dispatcher).await;
    let inputs = Inputs::single(column((0..16).map(f64::from)));
    let request = ScoreRequest { inputs, deadline: now() + MINUTE, context: RequestContext::untraced("large") };
    let large = dispatcher.clone();
    tokio::spawn(async move { large.score(request).await });
    settle().await;
    let began = script.calls()[2].at;
    (script, dispatcher, began)
}

#[tokio::test(start_paused = true)]
async fn on_busy_cores_little_waits_for_the_batch_that_runs() {
    let (script, dispatcher, began) = beside_a_large_batch(2).await;
    let sent: Vec<Sent> = (0..3).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    for sent in sent {
        ok(sent).await;
    }
    let calls = script.calls();
    assert_eq!(sizes(&calls), [1, 50, 16, 3]);
    assert_eq!(calls[3].at, began + CALL, "when the large one had ended");
}

#[tokio::test(start_paused = true)]
async fn on_busy_cores_much_begins_at_once() {
    let (script, dispatcher, began) = beside_a_large_batch(2).await;
    let sent: Vec<Sent> = (0..16).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    for sent in sent {
        ok(sent).await;
    }
    let calls = script.calls();
    assert_eq!(sizes(&calls), [1, 50, 16, 16]);
    assert_eq!(calls[3].at, began, "beside the large one");
}

#[tokio::test(start_paused = true)]
async fn with_an_idle_core_nothing_waits() {
    let (script, dispatcher, began) = beside_a_large_batch(3).await;
    ok(send(&dispatcher, 1.0, MINUTE)).await;
    assert_eq!(script.calls()[3].at, began);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_held_back_for_longer_than_two_calls() {
    let script = Script::new(2, CALL, ROW);
    let dispatcher = start(&script, settings());
    teach(&dispatcher).await;
    let inputs = Inputs::single(column((0..15).map(f64::from).chain([IS_SLOW])));
    let request = ScoreRequest { inputs, deadline: now() + MINUTE, context: RequestContext::untraced("slow") };
    let slow = dispatcher.clone();
    tokio::spawn(async move { slow.score(request).await });
    settle().await;
    let began = script.calls()[2].at;
    ok(send(&dispatcher, 1.0, MINUTE)).await;
    assert_eq!(script.calls()[3].at, began + 2 * CALL, "the slow one runs on until {SLOW_CALL:?}");
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_the_target_once_the_cost_is_known() {
    let script = Script::new(1, ms(1), ms(1));
    let dispatcher = start(&script, settings());
    teach(&dispatcher).await;
    let sent: Vec<Sent> = (0..200).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    for sent in sent {
        ok(sent).await;
    }
    let sizes = sizes(&script.calls()[3..]);
    assert!(sizes.iter().all(|rows| (1..=49).contains(rows)), "50 ms at 1 ms a call and 1 ms a row: {sizes:?}");
    assert!(sizes.len() <= 6, "and no smaller than they must be: {sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flooded_model_leaves_the_other_its_turn() {
    let slots = ScoringSlots::new(1);
    let (flooded, quiet) = (Script::new(1, ms(10), ROW), Script::new(1, ms(10), ROW));
    let never_joined = |script: &Arc<Script>| Arc::new(Dispatcher::start(settings(), script.clone(), slots.clone()));
    let (flood, other) = (never_joined(&flooded), never_joined(&quiet));
    let many: Vec<Sent> = (0..100).map(|x| send(&flood, f64::from(x), MINUTE)).collect();
    settle().await;
    let (result, at) = answer(send(&other, 1.0, MINUTE)).await;
    assert_eq!(result.expect("predictions"), [2.0]);
    assert!(at <= ms(31), "its own call, and no more than two of the other model: {at:?}");
    for sent in many {
        ok(sent).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_by_a_hanging_member_is_scored_alone() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let (innocent, culprit) = (send(&dispatcher, 2.0, MINUTE), send(&dispatcher, HANGS, ms(5000)));
    assert_eq!(ok(first).await, 2.0);
    let (result, at) = answer(innocent).await;
    assert_eq!(result.expect("predictions"), [4.0]);
    assert!(at < ms(6000), "the joined call was given up: {at:?}");
    assert_eq!(kind(culprit).await, Kind::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn only_the_culprit_is_told_of_a_crash_or_an_error() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let innocents: Vec<Sent> = (2..6).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    let (crash, error) = (send(&dispatcher, CRASHES, MINUTE), send(&dispatcher, FAILS, MINUTE));
    assert_eq!(ok(first).await, 2.0);
    for (x, innocent) in (2..6).zip(innocents) {
        assert_eq!(ok(innocent).await, 2.0 * f64::from(x));
    }
    assert_eq!(kind(crash).await, Kind::ModelCrashed);
    assert!(matches!(kind(error).await, Kind::ModelFailed(_)));
}

/// Asserts that nothing of a batch is left, and that the next request is served.
async fn serves_on(dispatcher: &Arc<Dispatcher<Script>>) {
    settle().await;
    let shared = &dispatcher.shared;
    assert_eq!((shared.slots.busy(), shared.pool.busy()), (0, 0), "slots and workers were given back");
    assert_eq!(shared.waiting().running(), (0, 0), "no batch is thought to run");
    assert_eq!(ok(send(dispatcher, 21.0, MINUTE)).await, 42.0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_failure_of_the_request_that_met_it() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    assert_eq!(kind(send(&dispatcher, PANICS, MINUTE)).await, Kind::Internal);
    assert_eq!(script.discarded(), 1, "the worker that was in the middle of the call");
    serves_on(&dispatcher).await;
}

#[tokio::test(start_paused = true)]
async fn who_shared_a_call_with_a_panic_is_scored_again() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let (before, culprit, after) =
        (send(&dispatcher, 2.0, MINUTE), send(&dispatcher, PANICS, MINUTE), send(&dispatcher, 3.0, MINUTE));
    assert_eq!((ok(first).await, ok(before).await, ok(after).await), (2.0, 4.0, 6.0));
    assert_eq!(kind(culprit).await, Kind::Internal);
    assert_eq!(script.calls()[1].rows.len(), 3, "they shared a call at first");
    serves_on(&dispatcher).await;
}

#[tokio::test(start_paused = true)]
async fn a_scoring_task_that_panics_leaves_nobody_without_an_answer() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    script.panic_when_discarding();
    let members = [2.0, CRASHES, 3.0].map(|x| send(&dispatcher, x, MINUTE));
    assert_eq!(ok(first).await, 2.0);
    for member in members {
        let (result, at) = answer(member).await;
        let error = result.expect_err("an error");
        assert_eq!((error.kind(), at), (&Kind::Internal, ms(20)), "at once, and not at the deadline: {error}");
    }
    serves_on(&dispatcher).await;
}

#[tokio::test(start_paused = true)]
async fn when_batches_are_not_formed_any_more_nobody_waits_for_them() {
    let script = Script::new(1, ms(10), ROW);
    // A slot is free and the only worker is not.
    let dispatcher = Arc::new(Dispatcher::start(settings(), script.clone(), ScoringSlots::new(2)));
    let failed = dispatcher.shared.settings.background.clone();
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    script.panic_when_reserving();
    let waits = send(&dispatcher, 2.0, MINUTE);
    assert_eq!(failed.failed().await, "dispatcher of a model", "the server is told, and ends");
    assert_eq!(kind(waits).await, Kind::Unavailable);
    let late = send(&dispatcher, 3.0, MINUTE);
    assert_eq!(kind(late).await, Kind::Unavailable);
    assert!(script.elapsed() < ms(10), "at once");
    assert_eq!(answer(first).await.1, ms(10), "what was begun is finished");
}
