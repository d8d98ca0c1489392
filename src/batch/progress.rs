//! How far a run is, for whoever shows it: a bar, lines, JSON or metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::record::{Finding, Outcome, Rows};
use crate::telemetry::metrics;

/// Counts of a run as this process knows them.
#[derive(Debug)]
pub struct Progress {
    partitions: u64,
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    /// Settled by anybody when this process began.
    before: Option<Settled>,
    all: Settled,
    running: u64,
    failed: u64,
    rows: Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Settled {
    partitions: u64,
    bytes: u64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Snapshot {
    /// Partitions of the run.
    pub partitions: u64,
    /// Partitions that are settled, whoever did it.
    pub settled: u64,
    /// Partitions that this process works on.
    pub running: u64,
    /// Partitions that failed here.
    pub failed: u64,
    /// Bytes of all inputs.
    pub bytes: u64,
    /// Bytes of the inputs that are settled.
    pub settled_bytes: u64,
    /// Rows of partitions that were settled here.
    pub rows: Rows,
    /// Rows per second here.
    pub rows_per_second: f64,
    /// Seconds since this process began.
    pub elapsed_seconds: f64,
    /// Seconds to go at the rate so far; none before anything is settled.
    pub remaining_seconds: Option<f64>,
}

impl Progress {
    /// Nothing was done so far.
    pub fn new(partitions: u64, bytes: u64) -> Self {
        metrics::batch_partitions(partitions, 0, 0);
        Self {
            partitions,
            bytes,
            state: Mutex::new(State {
                started: Instant::now(),
                before: None,
                all: Settled::default(),
                running: 0,
                failed: 0,
                rows: Rows::default(),
            }),
        }
    }

    /// So many partitions with so many bytes are settled, whoever did it.
    pub fn all_settled(&self, partitions: usize, bytes: u64) {
        let mut state = self.lock();
        // What was settled here since the listing is counted already.
        let all =
            Settled { partitions: state.all.partitions.max(partitions as u64), bytes: state.all.bytes.max(bytes) };
        state.all = all;
        state.before.get_or_insert(all);
        metrics::batch_partitions(self.partitions, state.all.partitions, state.running);
    }

    /// So many partitions are being worked on here.
    pub fn running(&self, partitions: usize) {
        let mut state = self.lock();
        state.running = partitions as u64;
        metrics::batch_partitions(self.partitions, state.all.partitions, state.running);
    }

    /// A partition was settled here.
    pub fn settled(&self, outcome: &Outcome, bytes: u64) {
        let mut state = self.lock();
        state.all.partitions = (state.all.partitions + 1).min(self.partitions);
        state.all.bytes = (state.all.bytes + bytes).min(self.bytes);
        state.rows.add(outcome.rows);
        let cause = match &outcome.result {
            Finding::Scored { .. } => None,
            Finding::Failed { failure } => {
                state.failed += 1;
                Some(failure.cause.name())
            }
        };
        metrics::batch_settled(cause, Duration::from_secs_f64(outcome.times.score.max(0.0)));
        let rows = outcome.rows;
        metrics::batch_rows(rows.written, rows.quarantined, rows.failed);
        metrics::batch_partitions(self.partitions, state.all.partitions, state.running);
    }

    /// The counts now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let elapsed = state.started.elapsed().as_secs_f64();
        let before = state.before.unwrap_or_default();
        let done = state.all.bytes.saturating_sub(before.bytes);
        let left = self.bytes.saturating_sub(state.all.bytes);
        let remaining = (done > 0 && elapsed > 0.0).then(|| left as f64 * elapsed / done as f64);
        Snapshot {
            partitions: self.partitions,
            settled: state.all.partitions,
            running: state.running,
            failed: state.failed,
            bytes: self.bytes,
            settled_bytes: state.all.bytes,
            rows: state.rows,
            rows_per_second: if elapsed > 0.0 { state.rows.read as f64 / elapsed } else { 0.0 },
            elapsed_seconds: elapsed,
            remaining_seconds: remaining,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
