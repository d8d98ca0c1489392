//! What the dispatcher needs of a pool and its workers. One implementation is
//! the pool of processes; the other is a script in the dispatcher's tests, whose
//! clock stands still.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use crate::pool::{CallEnd, Health, ReservedWorker, WorkerEnd, WorkerLost, WorkerPool};
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ScoreCall, ScoreReply};

/// Where workers come from.
pub trait Workers: Send + Sync + 'static {
    /// A worker on loan; it goes back when dropped.
    type Worker: ScoringWorker;

    /// Waits for a worker that nobody else uses.
    ///
    /// # Errors
    /// None can be started now.
    fn reserve(&self) -> impl Future<Output = io::Result<Self::Worker>> + Send;

    /// A worker that nobody uses, if there is one; never waits.
    fn try_reserve(&self) -> Option<Self::Worker>;

    /// Ends a worker and has it replaced.
    fn discard(&self, worker: Self::Worker, reason: DeathReason);

    /// Workers that exist, busy or idle.
    fn size(&self) -> usize;

    /// Workers that are scoring now.
    fn busy(&self) -> usize;

    /// Workers that ended so far, by reason.
    fn ended(&self) -> BTreeMap<&'static str, u64>;

    /// How its processes are.
    fn health(&self) -> Health;

    /// Whether nothing can be scored now and no worker is to be expected soon.
    fn is_out_of_order(&self) -> bool;

    /// How long a worker has to stop after it was interrupted.
    fn interrupt_grace(&self) -> Duration;
}

/// A worker that takes one call at a time.
pub trait ScoringWorker: Send + 'static {
    /// Number of the worker, for the log.
    fn id(&self) -> u64;

    /// How many calls it has taken.
    fn calls(&self) -> u64;

    /// Tells how it ended, once it has.
    fn watch_end(&self) -> WorkerEnd;

    /// Has one call scored.
    ///
    /// # Errors
    /// The worker is lost.
    fn score(&mut self, call: &ScoreCall) -> impl Future<Output = Result<ScoreReply, WorkerLost>> + Send;

    /// Has one call scored until a deadline, and then interrupts it.
    ///
    /// # Errors
    /// See [`CallEnd`].
    fn score_until(
        &mut self,
        call: &ScoreCall,
        deadline: Instant,
        grace: Duration,
    ) -> impl Future<Output = Result<ScoreReply, CallEnd>> + Send;
}

impl Workers for WorkerPool {
    type Worker = ReservedWorker;

    async fn reserve(&self) -> io::Result<ReservedWorker> {
        self.reserve().await
    }

    fn try_reserve(&self) -> Option<ReservedWorker> {
        self.try_reserve()
    }

    fn discard(&self, worker: ReservedWorker, reason: DeathReason) {
        self.discard(worker, reason);
    }

    fn size(&self) -> usize {
        self.size()
    }

    fn busy(&self) -> usize {
        self.busy()
    }

    fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.ended()
    }

    fn health(&self) -> Health {
        self.health()
    }

    fn is_out_of_order(&self) -> bool {
        self.is_out_of_order()
    }

    fn interrupt_grace(&self) -> Duration {
        self.interrupt_grace()
    }
}

impl ScoringWorker for ReservedWorker {
    fn id(&self) -> u64 {
        (**self).id()
    }

    fn calls(&self) -> u64 {
        (**self).calls()
    }

    fn watch_end(&self) -> WorkerEnd {
        (**self).watch_end()
    }

    async fn score(&mut self, call: &ScoreCall) -> Result<ScoreReply, WorkerLost> {
        (**self).score(call).await
    }

    async fn score_until(
        &mut self,
        call: &ScoreCall,
        deadline: Instant,
        grace: Duration,
    ) -> Result<ScoreReply, CallEnd> {
        (**self).score_until(call, deadline, grace).await
    }
}
