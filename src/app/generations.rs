//! The generations that are loaded: for each version the one that serves, and
//! one before it that is answering its last requests. A generation's processes
//! end when nobody holds its scorer any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::lifecycle::Background;
use crate::model::watch::Key;
use crate::pool::WorkerPool;
use crate::pool::memory::{self, ProportionalSize};
use crate::scoring::dispatcher::Released;
use crate::scoring::{Score, Scorer};
use crate::telemetry::metrics::{self, WorkerState};

/// All generations that have processes. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Generations {
    shared: Arc<Shared>,
    background: Background,
}

#[derive(Default)]
struct Shared {
    entries: Mutex<Vec<Generation>>,
    drained: Notify,
}

/// One load of one version.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) key: Key,
    /// Counted from 1 for each version.
    pub(super) number: u64,
    /// SHA-256 of its bundle.
    pub(super) digest: String,
    pub(super) pool: Arc<WorkerPool>,
    /// Must not keep the scorer: its last handle ends the generation.
    scorer: Weak<dyn Score>,
    released: Released,
    /// Whether another generation took its place.
    retired: bool,
    proportional: Arc<ProportionalSize>,
}

impl Generation {
    pub(super) fn new(
        key: Key,
        number: u64,
        digest: String,
        pool: Arc<WorkerPool>,
        scorer: &Scorer,
        released: Released,
    ) -> Self {
        let (scorer, proportional) = (Arc::downgrade(scorer), Arc::default());
        Self { key, number, digest, pool, scorer, released, retired: false, proportional }
    }
}

impl Generations {
    /// None yet.
    pub(super) fn new(background: Background) -> Self {
        Self { shared: Arc::default(), background }
    }

    /// Adds the generation that serves its version from now on.
    pub(super) fn add(&self, generation: Generation) {
        self.lock().push(generation);
    }

    /// Waits until a version, or each of them, has at most the generation that serves:
    /// one more may then be loaded, so that no version ever has more than two.
    pub(super) async fn room_for(&self, key: Option<&Key>) {
        loop {
            // Registered before the look: a drain that ends in between still wakes us.
            let drained = self.shared.drained.notified();
            if !self.lock().iter().any(|entry| entry.retired && key.is_none_or(|key| entry.key == *key)) {
                return;
            }
            drained.await;
        }
    }

    /// Has all generations of a version but `keep` end: each when its last request
    /// was answered, at the latest after `limit`.
    pub(super) fn retire(&self, key: &Key, keep: Option<u64>, limit: Duration) {
        let mut entries = self.lock();
        let replaced =
            entries.iter_mut().filter(|entry| entry.key == *key && Some(entry.number) != keep && !entry.retired);
        for entry in replaced {
            entry.retired = true;
            self.background.spawn("end of a generation", self.clone().drain(entry.clone(), limit));
        }
    }

    async fn drain(self, mut generation: Generation, limit: Duration) {
        let (model, version) = &generation.key;
        match timeout(limit, generation.released.wait()).await {
            Ok(()) => tracing::info!(
                model.name = %model,
                model.version = version,
                "generation {} has answered its last request and ends",
                generation.number
            ),
            Err(_) => tracing::warn!(
                model.name = %model,
                model.version = version,
                "generation {} still has requests after models.drain_timeout and is ended",
                generation.number
            ),
        }
        generation.pool.stop().await;
        self.forget(&generation);
    }

    fn forget(&self, gone: &Generation) {
        let (model, version) = &gone.key;
        let mut entries = self.lock();
        entries.retain(|entry| entry.key != gone.key || entry.number != gone.number);
        if !entries.iter().any(|entry| entry.key == gone.key && entry.digest == gone.digest) {
            metrics::model_unloaded((model, *version), &gone.digest);
        }
        if !entries.iter().any(|entry| entry.key == gone.key) {
            publish((model, *version), &Sums::default());
            metrics::queue((model, *version), 0, 0, Duration::ZERO);
        }
        drop(entries);
        self.shared.drained.notify_waiters();
    }

    /// Sets the gauges that describe the moment.
    pub(super) fn publish(&self) {
        let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
        // The one that serves is the last of its version, and so its queue is what is seen.
        for entry in self.list() {
            if let Some(scorer) = entry.scorer.upgrade() {
                scorer.publish_metrics();
            }
            let sums = sums.entry(entry.key).or_default();
            let (size, busy) = (entry.pool.size(), entry.pool.busy());
            sums.busy += busy;
            sums.idle += size.saturating_sub(busy);
            let processes = entry.pool.process_ids();
            sums.resident += processes.iter().copied().map(memory::resident_bytes).sum::<u64>();
            sums.proportional += entry.proportional.bytes(processes);
        }
        for ((model, version), sums) in &sums {
            publish((model, *version), sums);
        }
    }

    /// Ends all processes, whatever they do.
    pub(super) async fn stop(&self) {
        for entry in self.list() {
            entry.pool.stop().await;
        }
    }

    fn list(&self) -> Vec<Generation> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Generation>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workers and memory of all generations of a version.
#[derive(Default)]
struct Sums {
    idle: usize,
    busy: usize,
    resident: u64,
    proportional: u64,
}

fn publish(model: metrics::Model<'_>, sums: &Sums) {
    metrics::workers(model, WorkerState::Busy, sums.busy);
    metrics::workers(model, WorkerState::Idle, sums.idle);
    metrics::worker_rss(model, sums.resident);
    metrics::worker_pss(model, sums.proportional);
}
