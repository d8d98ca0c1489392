//! What a pool knows of its worker processes beyond their sockets: which exist,
//! who forked them, and which were ended on purpose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::births::INFANCY;
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::ExitStatus;

/// Workers of a pool that have not been reaped, whichever zygote they come from,
/// and which of them were ended on purpose.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    entries: Arc<Mutex<HashMap<u64, LedgerEntry>>>,
}

#[derive(Debug)]
struct LedgerEntry {
    pid: u32,
    /// Of the zygote that forked it.
    generation: u64,
    expected: Option<DeathReason>,
    ended: watch::Sender<Option<ExitStatus>>,
    forked: Instant,
    was_asked: bool,
}

/// How a worker that ended had lived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    /// The reason if it was ended on purpose.
    pub(super) expected: Option<DeathReason>,
    /// Whether it died by itself, at once, and before anything was asked of it.
    pub(super) was_stillborn: bool,
}

impl Ledger {
    /// Notes a worker that was forked.
    pub(super) fn add(&self, id: u64, pid: u32, generation: u64) {
        let (ended, forked) = (watch::Sender::new(None), Instant::now());
        self.lock().insert(id, LedgerEntry { pid, generation, expected: None, ended, forked, was_asked: false });
    }

    /// Notes that something was asked of a worker.
    pub(super) fn asked(&self, id: u64) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.was_asked = true;
        }
    }

    /// Ids and process ids of a zygote's workers.
    pub(super) fn workers_of(&self, generation: u64) -> Vec<(u64, u32)> {
        let entries = self.lock();
        let own = entries.iter().filter(|(_, entry)| entry.generation == generation);
        own.map(|(id, entry)| (*id, entry.pid)).collect()
    }

    /// Notes that a worker is about to be ended and why.
    pub(super) fn expect_end(&self, id: u64, reason: DeathReason) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.expected.get_or_insert(reason);
        }
    }

    /// Tells how a worker ended, once that is known. Nothing when it was forgotten.
    pub(super) fn end_of(&self, id: u64) -> Option<watch::Receiver<Option<ExitStatus>>> {
        self.lock().get(&id).map(|entry| entry.ended.subscribe())
    }

    /// Forgets a worker that ended.
    pub(super) fn remove(&self, id: u64, status: ExitStatus) -> Life {
        let Some(entry) = self.lock().remove(&id) else { return Life { expected: None, was_stillborn: false } };
        entry.ended.send_replace(Some(status));
        // One whose socket nobody wanted any more ends in good order.
        let in_order = status == ExitStatus::Code(0);
        let is_young = entry.forked.elapsed() < INFANCY;
        let was_stillborn = entry.expected.is_none() && !in_order && !entry.was_asked && is_young;
        Life { expected: entry.expected, was_stillborn }
    }

    /// In ascending order.
    pub(super) fn process_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.lock().values().map(|entry| entry.pid).collect();
        ids.sort_unstable();
        ids
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, LedgerEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
