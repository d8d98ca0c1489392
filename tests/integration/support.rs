//! What the tests of the whole server share: a server on free ports, bundles
//! to serve, a client, and ways to look at processes, metrics and logs.

pub mod bundle;
pub mod client;
pub mod emulators;
pub mod endpoint;
pub mod faulty;
pub mod gate;
pub mod gateway;
pub mod golden;
pub mod group;
pub mod holding;
pub mod job;
pub mod keys;
pub mod metrics;
pub mod processes;
pub mod program;
pub mod server;
pub mod setup;

use std::future::Future;
use std::time::Duration;

/// The longest that anything in a test may take. Far above what is needed, so
/// that only a hang reaches it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that is known to happen.
#[track_caller]
pub fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{place}: {what} did not happen within {} s", DEADLINE.as_secs()),
        }
    }
}

/// Asks again and again until `probe` gives something. For what sends no event:
/// counters and other processes.
#[track_caller]
pub fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    within_deadline(what, async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            if let Some(value) = probe().await {
                return value;
            }
        }
    })
}
