//! The dispatcher under a clock that stands still until everybody waits: what
//! happens when, to the millisecond of tokio's timers, on workers by script.

mod scripted;
mod sparing;
mod waits;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::task::yield_now;
use tokio::time::sleep;

use self::scripted::{CRASHES, Call, IS_SLOW, SLOW_CALL, Script, column, numbers};
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
        queue: QueueLimits { max_entries: 1000, max_rows: 10_000, max_bytes: 1 << 20, max_time: Duration::ZERO },
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

/// Asserts that nothing of a batch is left, and that the next request is served.
async fn serves_on(dispatcher: &Arc<Dispatcher<Script>>) {
    settle().await;
    let shared = &dispatcher.shared;
    assert_eq!((shared.slots.busy(), shared.pool.busy()), (0, 0), "slots and workers were given back");
    assert_eq!(shared.waiting().running(), (0, 0), "no batch is thought to run");
    assert_eq!(ok(send(dispatcher, 21.0, MINUTE)).await, 42.0);
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
async fn an_answer_without_rows_has_the_columns_of_the_sample() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let score = |rows| {
        let (inputs, context) = (Inputs::single(rows), RequestContext::untraced("test"));
        dispatcher.score(ScoreRequest { inputs, deadline: now() + MINUTE, context })
    };
    let nothing = || score(column([]));
    let names = |scored: Scored| {
        assert_eq!((scored.batch.num_rows(), scored.unnamed), (0, true));
        scored.batch.schema_ref().field(0).name().clone()
    };
    assert_eq!(names(nothing().await.expect("an answer")), "prediction");
    let sample = score(column([1.0])).await.expect("predictions");
    assert_eq!(names(nothing().await.expect("an answer")), "prediction", "not those of some caller");
    dispatcher.answer_no_rows_like(&sample);
    assert_eq!(names(nothing().await.expect("an answer")), "x");
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
async fn a_deadline_passes_in_the_queue_whoever_came_before() {
    let script = Script::new(1, ms(500), ROW);
    let dispatcher = start(&script, settings());
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let patient = send(&dispatcher, 3.0, MINUTE);
    settle().await;
    let hurried = send(&dispatcher, 2.0, ms(100));
    let (result, at) = answer(hurried).await;
    assert_eq!((result.expect_err("too late").kind(), at), (&Kind::DeadlineExceeded, ms(100)));
    assert_eq!((ok(first).await, ok(patient).await), (2.0, 6.0));
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
async fn who_leaves_gives_up_its_place_in_the_queue() {
    let script = Script::new(1, ms(10), ROW);
    let queue = QueueLimits { max_entries: 2, ..settings().queue };
    let dispatcher = start(&script, DispatchSettings { queue, ..settings() });
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    let leave: Vec<Sent> = (2..4).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    settle().await;
    assert!(matches!(kind(send(&dispatcher, 4.0, MINUTE)).await, Kind::Overloaded { .. }));
    leave.iter().for_each(JoinHandle::abort);
    settle().await;
    assert_eq!(script.elapsed(), Duration::ZERO, "the first is being scored");
    let stays = send(&dispatcher, 5.0, MINUTE);
    assert_eq!((ok(first).await, ok(stays).await), (2.0, 10.0));
    assert_eq!(script.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_parts_have_no_place_is_scored_whole() {
    let script = Script::new(3, CALL, ROW);
    let queue = QueueLimits { max_rows: 500, ..settings().queue };
    let dispatcher = start(&script, DispatchSettings { queue, ..settings() });
    teach(&dispatcher).await;
    let score = |rows: i32| {
        let dispatcher = dispatcher.clone();
        let inputs = Inputs::single(column((0..rows).map(f64::from)));
        let request = ScoreRequest { inputs, deadline: now() + MINUTE, context: RequestContext::untraced("large") };
        tokio::spawn(async move { dispatcher.score(request).await.map(|scored| numbers(&scored.batch)) })
    };
    // Beside these, smaller parts would wait.
    let running = score(400);
    settle().await;
    let large = score(600).await.expect("no panic").expect("it is scored");
    assert_eq!(large, (0..600).map(|x| 2.0 * f64::from(x)).collect::<Vec<_>>());
    assert_eq!(running.await.expect("no panic").expect("predictions").len(), 400);
    assert_eq!(sizes(&script.calls()[2..]), [400, 600], "and no part of it for nothing");
}

#[tokio::test(start_paused = true)]
async fn max_delay_leaves_time_to_score() {
    let script = Script::new(1, CALL, ROW);
    let slots = ScoringSlots::new(1);
    let dispatcher =
        Dispatcher::start(DispatchSettings { max_delay: ms(1000), ..settings() }, script.clone(), slots.clone());
    let dispatcher = Arc::new(dispatcher);
    let patient = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    assert_eq!((slots.busy(), script.busy()), (0, 1), "no slot is held meanwhile");
    let hurried = send(&dispatcher, 2.0, ms(100));
    let (result, at) = answer(hurried).await;
    assert_eq!((result.expect("predictions"), at), (vec![4.0], ms(52)), "half of its time, and its call");
    assert_eq!(ok(patient).await, 2.0);
    assert!(script.elapsed() <= ms(1100), "{:?}", script.elapsed());
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
async fn who_comes_after_all_have_left_is_held_back_anew() {
    let (script, dispatcher, began) = beside_a_large_batch(2).await;
    let leaves = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    assert!(dispatcher.shared.waiting().is_held(), "a little waits for the large batch");
    leaves.abort();
    settle().await;
    assert!(!dispatcher.shared.waiting().is_held(), "nothing waits");
    ok(send(&dispatcher, 2.0, MINUTE)).await;
    assert_eq!(script.calls()[3], Call { at: began + CALL, rows: vec![2.0] });
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
async fn who_waits_for_a_worker_takes_no_slot_from_another_model() {
    let slots = ScoringSlots::new(2);
    let (busy, idle) = (Script::new(1, ms(100), ROW), Script::new(1, ms(10), ROW));
    let start = |script: &Arc<Script>| Arc::new(Dispatcher::start(settings(), script.clone(), slots.clone()));
    let (waits, other) = (start(&busy), start(&idle));
    let first = send(&waits, 1.0, MINUTE);
    settle().await;
    let second = send(&waits, 2.0, MINUTE);
    settle().await;
    assert_eq!(answer(send(&other, 3.0, MINUTE)).await.1, ms(10), "a slot and its worker were free");
    assert_eq!((ok(first).await, ok(second).await), (2.0, 4.0));
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_given_back_while_no_worker_can_be_had() {
    let slots = ScoringSlots::new(1);
    let (crashing, fine) = (Script::new(1, ms(10), ROW), Script::new(1, ms(10), ROW));
    let start = |script: &Arc<Script>| Arc::new(Dispatcher::start(settings(), script.clone(), slots.clone()));
    let (waits, other) = (start(&crashing), start(&fine));
    let crashes = send(&waits, CRASHES, MINUTE);
    settle().await;
    crashing.set_away(true);
    sleep(ms(50)).await;
    let behind = send(&waits, 2.0, MINUTE);
    settle().await;
    assert_eq!(answer(send(&other, 3.0, MINUTE)).await.1, ms(60), "the slot is not kept for a second attempt");
    crashing.set_away(false);
    assert_eq!((kind(crashes).await, ok(behind).await), (Kind::ModelCrashed, 4.0));
    assert_eq!((slots.busy(), crashing.busy()), (0, 0));
}
