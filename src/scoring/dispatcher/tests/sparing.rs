//! What becomes of those who share a call with one that hangs, fails, crashes or
//! meets a defect of the server.

use super::scripted::{COUNTS, CRASHES, Call, FAILS, HANGS, IS_LONG, LONG_CALL, PANICS, Script};
use super::*;

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

/// Has requests share a call, all with half a minute; a first one keeps the worker busy
/// until they are together.
async fn share_a_call<const N: usize>(dispatcher: &Arc<Dispatcher<Script>>, rows: [f64; N]) -> [Sent; N] {
    let first = send(dispatcher, 1.0, MINUTE);
    settle().await;
    let members = rows.map(|x| send(dispatcher, x, MINUTE / 2));
    assert_eq!(ok(first).await, 2.0);
    members
}

/// Asserts that an innocent request was answered after a while that a hanging one did
/// not take from it.
async fn is_spared(innocent: Sent, x: f64) {
    let (result, at) = answer(innocent).await;
    assert_eq!(result.expect("predictions"), [2.0 * x]);
    assert!(at < ms(4000), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_member_takes_nobodys_time() {
    // After a call that took too long, after an error, and after crashes.
    for other in [4.0, FAILS, CRASHES] {
        let script = Script::new(1, ms(10), ROW);
        let dispatcher = start(&script, settings());
        let [other, culprit, before, after] = share_a_call(&dispatcher, [other, HANGS, 2.0, 3.0]).await;
        is_spared(before, 2.0).await;
        is_spared(after, 3.0).await;
        drop(other);
        let (result, at) = answer(culprit).await;
        assert_eq!(*result.expect_err("it hangs").kind(), Kind::DeadlineExceeded);
        assert_eq!(at, MINUTE / 2, "it has all of its time");
        assert!(script.calls().iter().any(|call| call.rows == [HANGS]), "alone too");
        serves_on(&dispatcher).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_merely_long_is_scored_among_those_that_hang() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, settings());
    let [first, long, second, usual] = share_a_call(&dispatcher, [HANGS, IS_LONG, HANGS, 2.0]).await;
    let (result, at) = answer(usual).await;
    assert_eq!(result.expect("predictions"), [4.0]);
    assert!(at < ms(5000), "{at:?}");
    let (result, at) = answer(long).await;
    assert_eq!(result.expect("predictions"), [2.0 * IS_LONG]);
    assert!(at < 6 * LONG_CALL, "{at:?}");
    for culprit in [first, second] {
        assert_eq!(kind(culprit).await, Kind::DeadlineExceeded);
    }
    serves_on(&dispatcher).await;
}

#[tokio::test(start_paused = true)]
async fn rows_are_audited_when_no_other_member_waits() {
    let script = Script::new(1, ms(10), ROW);
    let dispatcher = start(&script, DispatchSettings { audit_every: 1, ..settings() });
    let waited_for = share_a_call(&dispatcher, [CRASHES, 2.0, 3.0, 4.0]).await;
    let [crash, others @ ..] = waited_for;
    for (x, other) in [2.0, 3.0, 4.0].into_iter().zip(others) {
        assert_eq!(ok(other).await, 2.0 * x);
    }
    assert_eq!(kind(crash).await, Kind::ModelCrashed);
    settle().await;
    let rows = |calls: &[Call]| calls.iter().map(|call| call.rows.clone()).collect::<Vec<_>>();
    let before = script.calls();
    assert!(rows(&before).contains(&vec![3.0, 4.0]), "{before:?}");
    assert!(!rows(&before).contains(&vec![3.0]), "the crashed one waits for its second attempt: {before:?}");
    for (x, member) in [5.0, 6.0].into_iter().zip(share_a_call(&dispatcher, [5.0, 6.0]).await) {
        assert_eq!(ok(member).await, 2.0 * x);
    }
    sleep(ms(100)).await;
    serves_on(&dispatcher).await;
    let audited = rows(&script.calls()[before.len()..]);
    assert_eq!(audited, [vec![1.0], vec![5.0, 6.0], vec![5.0], vec![6.0], vec![21.0]]);
}

/// Has all rows scored as one request, and waits until an audit of them is over.
async fn score_rows<const N: usize>(dispatcher: &Arc<Dispatcher<Script>>, rows: [f64; N]) -> Vec<f64> {
    let (inputs, context) = (Inputs::single(column(rows)), RequestContext::untraced("several rows"));
    let scored = dispatcher.score(ScoreRequest { inputs, deadline: now() + MINUTE, context }).await;
    sleep(MINUTE).await;
    numbers(&scored.expect("predictions").batch)
}

#[tokio::test(start_paused = true)]
async fn requests_and_parts_of_several_rows_are_audited_until_one_shows_that_rows_depend_on_each_other() {
    let script = Script::new(2, ms(10), ROW);
    let dispatcher = start(&script, DispatchSettings { audit_every: 2, ..settings() });
    let mut called = 0;
    let mut new_calls = || {
        let sizes = sizes(&script.calls()[called..]);
        called += sizes.len();
        sizes
    };
    for (audited, rows) in [(0, [2.0, 3.0]), (2, [4.0, 5.0]), (0, [COUNTS, 6.0])] {
        score_rows(&dispatcher, rows).await;
        assert_eq!(new_calls(), [vec![2], vec![1; audited]].concat(), "every second one is audited: {rows:?}");
    }
    // One of its parts is due, of which a few rows are looked at.
    assert_eq!(score_rows(&dispatcher, [1.0; 512]).await, [2.0; 512]);
    let mut calls = new_calls();
    calls.sort_unstable();
    assert_eq!(calls, [vec![1; 16], vec![256; 2]].concat());
    assert!(dispatcher.joins_requests() && dispatcher.refutation().is_none());

    assert_eq!(score_rows(&dispatcher, [9.0, COUNTS]).await, [18.0, 2.0], "what was answered was answered");
    assert!(!dispatcher.joins_requests());
    assert_eq!(dispatcher.refutation(), Some("row 1 alone gave another prediction than among others"));
    new_calls();
    score_rows(&dispatcher, [1.0; 512]).await;
    score_rows(&dispatcher, [COUNTS, 1.0]).await;
    assert_eq!(new_calls(), [512, 2], "neither split nor audited any more");
    serves_on(&dispatcher).await;
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
