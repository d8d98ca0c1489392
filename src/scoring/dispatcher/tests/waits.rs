//! How long those wait that were accepted, and who is not.

use super::scripted::{HANGS, Script};
use super::*;
use crate::error::Overload;

/// One worker without joining, and a bound on the wait.
fn one_by_one(call: Duration, max_time: Duration) -> (Arc<Script>, Arc<Dispatcher<Script>>) {
    let script = Script::new(1, call, ROW);
    let queue = QueueLimits { max_time, ..settings().queue };
    let settings = DispatchSettings { queue, ..settings() };
    let dispatcher = Dispatcher::start(settings, script.clone(), ScoringSlots::new(1));
    (script, Arc::new(dispatcher))
}

/// Has calls made one after the other that others waited for, so that the pace is known.
async fn measure(dispatcher: &Arc<Dispatcher<Script>>) {
    for _ in 0..10 {
        for sent in [1.0, 2.0].map(|x| send(dispatcher, x, MINUTE)) {
            ok(sent).await;
        }
    }
}

/// When a request that was refused for the wait is to be sent again.
async fn refused(sent: Sent) -> Duration {
    match kind(sent).await {
        Kind::Overloaded { what: Overload::QueueTime, retry_after } => retry_after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_for_too_long_is_refused_at_once() {
    let (script, dispatcher) = one_by_one(ms(1000), ms(4500));
    measure(&dispatcher).await;
    let before = script.elapsed();
    let sent: Vec<Sent> = (0..20).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    settle().await;
    // One is being scored, and each of the others waits for those before it.
    let (accepted, late): (Vec<_>, Vec<_>) = sent.into_iter().enumerate().partition(|(_, sent)| !sent.is_finished());
    assert_eq!((accepted.len(), late.len()), (5, 15));
    for (_, late) in late {
        assert_eq!(refused(late).await, ms(1000), "4 s are expected, 0.4 s too much");
    }
    assert_eq!(script.elapsed(), before);
    for (number, accepted) in accepted {
        let (result, at) = answer(accepted).await;
        assert_eq!(result.expect("predictions"), [2.0 * number as f64]);
        assert_eq!(at - before, ms(1000 * (number as u64 + 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_who_shares_the_next_call() {
    let script = Script::new(1, ms(100), ROW);
    let queue = QueueLimits { max_time: ms(150), ..settings().queue };
    let dispatcher = start(&script, DispatchSettings { queue, ..settings() });
    teach(&dispatcher).await;
    measure(&dispatcher).await;
    let before = script.calls().len();
    let sent: Vec<Sent> = (0..200).map(|x| send(&dispatcher, f64::from(x), MINUTE)).collect();
    for sent in sent {
        ok(sent).await;
    }
    assert_eq!(sizes(&script.calls()[before..]), [1, 199], "one begins, and all others wait for it alone");
}

#[tokio::test(start_paused = true)]
async fn at_three_times_the_capacity_the_accepted_keep_their_time() {
    let (call, bound) = (ms(100), ms(300));
    let (script, dispatcher) = one_by_one(call, bound);
    let mut sent = Vec::new();
    let end = now() + MINUTE;
    while now() < end {
        sent.push((script.elapsed(), send(&dispatcher, 1.0, MINUTE)));
        sleep(call / 3).await;
    }
    let (mut times, mut turned_away) = (Vec::new(), 0);
    for (began, sent) in sent {
        match answer(sent).await {
            (Ok(_), at) => times.push(at - began),
            (Err(error), at) => {
                assert!(matches!(error.kind(), Kind::Overloaded { what: Overload::QueueTime, .. }), "{error}");
                assert!(at == began || at - began == bound, "at once, or as soon as it has waited for so long");
                turned_away += 1;
            }
        }
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 <= 2 * call + bound, "{p99:?}");
    assert!(times.len() >= 540, "at least 90 % of the 600 that can be scored: {}", times.len());
    assert!(turned_away >= 1000, "{turned_away}");
}

#[tokio::test(start_paused = true)]
async fn behind_a_call_that_hangs_nobody_waits_for_longer_than_the_limit() {
    let (script, dispatcher) = one_by_one(ms(100), ms(1000));
    measure(&dispatcher).await;
    let before = script.elapsed();
    let hangs = send(&dispatcher, HANGS, ms(5000));
    settle().await;
    let first = send(&dispatcher, 1.0, MINUTE);
    settle().await;
    sleep(ms(700)).await;
    let second = send(&dispatcher, 2.0, MINUTE);
    settle().await;
    sleep(ms(250)).await;
    // Nothing has left for 0.95 s.
    let late = send(&dispatcher, 3.0, MINUTE);
    for (sent, milliseconds) in [(late, 950), (first, 1000), (second, 1700)] {
        let (result, at) = answer(sent).await;
        let error = result.expect_err("no worker is free");
        assert!(matches!(error.kind(), Kind::Overloaded { what: Overload::QueueTime, .. }), "{error}");
        assert_eq!(at - before, ms(milliseconds));
    }
    assert_eq!(kind(hangs).await, Kind::DeadlineExceeded);
    assert_eq!(ok(send(&dispatcher, 4.0, MINUTE)).await, 8.0);
}
