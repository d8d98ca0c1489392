//! How long a body is waited for that is scored while it arrives. It may take any
//! time as a whole, but it holds memory meanwhile, and a stop waits for it: so it must
//! bring some bytes in each stretch of time, and after a stop was asked for go on.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::error::{Error, Kind, Result};
use crate::lifecycle::Phase;

/// How long nothing may come while requests in flight are waited for.
const DRAIN: Duration = Duration::from_secs(2);

/// What is left of the time for the next bytes. Only waiting counts: while scoring is
/// behind, or the caller does not take its answer, nothing is asked for.
pub(super) struct Patience {
    stretch: Duration,
    /// Bytes that a stretch must bring to be over.
    least: usize,
    waited: Duration,
    /// Bytes of this stretch.
    came: usize,
}

/// Counts the time for which it lives.
struct Waiting<'w> {
    since: Instant,
    waited: &'w mut Duration,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.waited += self.since.elapsed();
    }
}

impl Patience {
    /// At least `rate` bytes per second, looked at over a `stretch`.
    pub(super) fn new(stretch: Duration, rate: usize) -> Self {
        let least = (rate as f64 * stretch.as_secs_f64()) as usize;
        Self { stretch, least: least.max(1), waited: Duration::ZERO, came: 0 }
    }

    /// Waits for the next bytes.
    ///
    /// # Errors
    /// [`Kind::BodyTimeout`] when too few came for too long.
    pub(super) async fn wait<T>(
        &mut self,
        next: impl Future<Output = T>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<T> {
        let left = self.stretch.saturating_sub(self.waited);
        let drained = async {
            match phase.wait_for(|phase| *phase >= Phase::Draining).await.is_ok() {
                true => tokio::time::sleep(DRAIN).await,
                // Nobody can ask for a stop any more.
                false => pending().await,
            }
        };
        let _waiting = Waiting { since: Instant::now(), waited: &mut self.waited };
        tokio::select! {
            biased;
            next = timeout(left, next) => next.map_err(|_| too_slow(self.stretch, self.least)),
            () = drained => Err(Error::new(Kind::BodyTimeout, "the server stops, and nothing more of the body arrived")),
        }
    }

    /// So many bytes came.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.came += bytes;
        if self.came >= self.least {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }
}

fn too_slow(stretch: Duration, least: usize) -> Error {
    let seconds = stretch.as_secs_f64();
    Error::new(Kind::BodyTimeout, format!("of the body arrived less than {least} bytes in {seconds} s"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use tokio::time::sleep;

    use super::*;
    use crate::lifecycle::Lifecycle;

    const STRETCH: Duration = Duration::from_secs(60);

    async fn trickle(patience: &mut Patience, bytes: usize, every: Duration, pieces: usize) -> Result<()> {
        let mut phase = Lifecycle::new().subscribe();
        for _ in 0..pieces {
            patience.wait(sleep(every), &mut phase).await?;
            patience.arrived(bytes);
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_enough() {
        let mut patience = Patience::new(STRETCH, 10);
        let error = trickle(&mut patience, 1, Duration::from_secs(1), 100).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::BodyTimeout);
        assert!(error.detail().contains("less than 600 bytes in 60 s"), "{error}");
        trickle(&mut Patience::new(STRETCH, 10), 10, Duration::from_secs(1), 1000).await.unwrap();
        trickle(&mut Patience::new(STRETCH, 10), 600, Duration::from_secs(59), 100).await.unwrap();
        trickle(&mut Patience::new(STRETCH, 0), 1, Duration::from_secs(59), 100).await.unwrap();
        trickle(&mut Patience::new(STRETCH, 0), 1, Duration::from_secs(61), 1).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts_and_all_of_it() {
        let mut patience = Patience::new(STRETCH, 10);
        for _ in 0..5 {
            trickle(&mut patience, 1, Duration::from_secs(10), 1).await.unwrap();
            sleep(Duration::from_secs(100)).await;
        }
        let mut phase = Lifecycle::new().subscribe();
        // A wait that is given up and begun again goes on.
        timeout(Duration::from_secs(5), patience.wait(pending::<()>(), &mut phase)).await.unwrap_err();
        let began = Instant::now();
        patience.wait(pending::<()>(), &mut phase).await.unwrap_err();
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_what_moves() {
        let lifecycle = Lifecycle::new();
        let mut phase = lifecycle.subscribe();
        lifecycle.advance(Phase::Draining);
        let mut patience = Patience::new(STRETCH, 10);
        patience.wait(sleep(Duration::from_secs(1)), &mut phase).await.unwrap();
        let began = Instant::now();
        let error = patience.wait(pending::<()>(), &mut phase).await.unwrap_err();
        assert_eq!((began.elapsed(), error.kind()), (DRAIN, &Kind::BodyTimeout));
    }
}
