//! Phases of the server and the count of requests in flight. A stop is
//! lossless when it waits for that count to reach zero, so every request holds
//! an [`InFlight`] until its answer was handed to the connection.

mod background;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use self::background::{Background, text as panic_text};

/// What the server does at the moment. Phases follow each other in this order
/// and never go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Models are being loaded; nothing is scored yet.
    Starting,
    /// Requests are answered.
    Serving,
    /// A stop was asked for: the server says that it is not ready and answers all
    /// the same, until those who send requests have noticed.
    Leaving,
    /// Requests in flight go on, new ones are refused.
    Draining,
    /// The listeners are closed.
    Stopped,
}

impl Phase {
    /// Name as the log and the readiness report say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Clean,
    /// The time was over; so many requests were still in flight.
    TimedOut {
        /// Requests that a stop now would lose.
        in_flight: usize,
    },
}

/// The phase and the requests in flight. Clones share their state.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    in_flight: AtomicUsize,
    idle: Notify,
}

/// One request in flight; dropping it says that the request is over.
#[derive(Debug)]
pub struct InFlight {
    shared: Arc<Shared>,
}

impl Lifecycle {
    /// A lifecycle in [`Phase::Starting`].
    pub fn new() -> Self {
        let shared =
            Shared { phase: watch::Sender::new(Phase::Starting), in_flight: AtomicUsize::new(0), idle: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Follows the phases.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Goes to a later phase; an earlier one is ignored, so that a start that
    /// ends after a stop was asked for does not undo the stop.
    pub fn advance(&self, to: Phase) {
        self.shared.phase.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
            }
            later
        });
    }

    /// Counts a request until the guard is dropped.
    pub fn begin_request(&self) -> InFlight {
        self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight { shared: Arc::clone(&self.shared) }
    }

    /// Requests that were begun and are not over.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Stays in [`Phase::Leaving`] for `grace`, then drains; both together take no
    /// longer than `limit`.
    pub async fn leave(&self, grace: Duration, limit: Duration) -> Drained {
        let end = Instant::now() + limit;
        if !grace.is_zero() {
            self.advance(Phase::Leaving);
            tokio::time::sleep(grace.min(limit)).await;
        }
        self.drain(end.saturating_duration_since(Instant::now())).await
    }

    /// Goes to [`Phase::Draining`] and waits until nothing is in flight, at
    /// most for `limit`.
    pub async fn drain(&self, limit: Duration) -> Drained {
        self.advance(Phase::Draining);
        match tokio::time::timeout(limit, self.idle()).await {
            Ok(()) => Drained::Clean,
            Err(_) => match self.in_flight() {
                0 => Drained::Clean,
                in_flight => Drained::TimedOut { in_flight },
            },
        }
    }

    async fn idle(&self) {
        loop {
            // Registered before the count is read: a request that ends in
            // between still wakes us.
            let notified = self.shared.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.shared.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(25);

    #[test]
    fn phases_only_go_forward() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.phase(), Phase::Starting);
        lifecycle.advance(Phase::Draining);
        lifecycle.advance(Phase::Serving);
        assert_eq!(lifecycle.phase(), Phase::Draining);
        lifecycle.advance(Phase::Stopped);
        assert_eq!(lifecycle.phase(), Phase::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_server_drains_at_once() {
        let before = Instant::now();
        let lifecycle = Lifecycle::new();
        lifecycle.advance(Phase::Serving);
        assert_eq!(lifecycle.drain(LIMIT).await, Drained::Clean);
        assert_eq!(lifecycle.phase(), Phase::Draining);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_request() {
        let lifecycle = Lifecycle::new();
        let first = lifecycle.begin_request();
        let second = lifecycle.begin_request();
        let mut drain = Box::pin(lifecycle.drain(LIMIT));
        let mut pending = |message: &str| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(drain.as_mut().poll(&mut context).is_pending(), "{message}");
        };
        pending("two are in flight");
        drop(first);
        pending("one is in flight");
        let before = Instant::now();
        drop(second);
        assert_eq!(drain.await, Drained::Clean);
        assert_eq!(before.elapsed(), Duration::ZERO, "the drain waited for its limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_at_its_limit() {
        let lifecycle = Lifecycle::new();
        let _stuck = lifecycle.begin_request();
        let before = Instant::now();
        assert_eq!(lifecycle.drain(LIMIT).await, Drained::TimedOut { in_flight: 1 });
        assert!(before.elapsed() >= LIMIT && before.elapsed() < LIMIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_taken_for_a_while_and_the_whole_has_one_limit() {
        let lifecycle = Lifecycle::new();
        let _stuck = lifecycle.begin_request();
        let before = Instant::now();
        let grace = Duration::from_secs(5);
        let mut phases = lifecycle.subscribe();
        let (drained, ()) = tokio::join!(lifecycle.leave(grace, LIMIT), async {
            phases.wait_for(|phase| *phase == Phase::Leaving).await.expect("the lifecycle lives");
            assert_eq!(before.elapsed(), Duration::ZERO);
            phases.wait_for(|phase| *phase == Phase::Draining).await.expect("the lifecycle lives");
            assert!(before.elapsed() >= grace);
        });
        assert_eq!(drained, Drained::TimedOut { in_flight: 1 });
        assert!(before.elapsed() >= LIMIT && before.elapsed() < LIMIT + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn subscribers_see_each_phase() {
        let lifecycle = Lifecycle::new();
        let mut phases = lifecycle.subscribe();
        lifecycle.advance(Phase::Serving);
        phases.changed().await.expect("the lifecycle lives");
        assert_eq!(*phases.borrow_and_update(), Phase::Serving);
    }
}
