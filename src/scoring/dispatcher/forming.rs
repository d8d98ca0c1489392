//! Forms batches: when the next one begins, and who is in it. Worker and slot are
//! reserved first and what waits is looked at then, so that whatever came meanwhile
//! is in it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::{sleep, sleep_until};

use super::place::Place;
use super::{RETRY_PAUSE, Shared, now, refuse_all};
use crate::error::{Error, Kind, Result};
use crate::lifecycle::panic_text;
use crate::scoring::batching::{self, Situation};
use crate::scoring::drain::Batches;
use crate::scoring::pacing::{self, Moment, Start};
use crate::scoring::queue::{Entry, Queue, QueueLimits, Ticket};
use crate::scoring::workers::Workers;

/// What waits for a worker of one version, and what it may have to wait for.
pub(super) struct Waiting {
    /// Who waits.
    pub(super) queue: Queue,
    running_batches: usize,
    running_rows: usize,
    /// Since when what waits is held back.
    held_since: Option<Instant>,
    /// Rows from which on the dispatching task wants to know of an arrival. Waking it
    /// for each would cost more than what is gained by holding requests back.
    told_from: usize,
    /// Nobody forms batches any more, so nothing may wait for that.
    abandoned: bool,
}

impl Waiting {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            queue: Queue::new(limits),
            running_batches: 0,
            running_rows: 0,
            held_since: None,
            told_from: 0,
            abandoned: false,
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of [`Queue::push`]; also when batches are not formed any more.
    pub(super) fn push(&mut self, entry: Entry, next: &Batches) -> Result<Pushed> {
        if self.abandoned {
            return Err(gone());
        }
        let ticket = self.queue.push(entry, next)?;
        let is_first = self.queue.is_first(ticket);
        Ok(Pushed { ticket, is_first, is_worth_a_look: is_first || self.queue.rows() >= self.told_from })
    }
}

/// An entry that was added.
pub(super) struct Pushed {
    /// Its place.
    pub(super) ticket: Ticket,
    /// Whether it is served before all others.
    pub(super) is_first: bool,
    /// Whether the dispatching task should look.
    pub(super) is_worth_a_look: bool,
}

#[cfg(test)]
impl Waiting {
    /// Batches that are being scored, and their rows.
    pub(super) fn running(&self) -> (usize, usize) {
        (self.running_batches, self.running_rows)
    }

    /// Whether what waits is held back.
    pub(super) fn is_held(&self) -> bool {
        self.held_since.is_some()
    }
}

/// A batch that is being scored; counted until this is dropped.
struct Running<W: Workers> {
    shared: Arc<Shared<W>>,
    rows: usize,
}

impl<W: Workers> Running<W> {
    fn count(shared: &Arc<Shared<W>>, batch: &[Entry]) -> Self {
        let rows = batch.iter().map(|entry| entry.rows).sum();
        let mut waiting = shared.waiting();
        waiting.running_batches += 1;
        waiting.running_rows += rows;
        Self { shared: shared.clone(), rows }
    }
}

impl<W: Workers> Drop for Running<W> {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting();
        waiting.running_batches -= 1;
        waiting.running_rows -= self.rows;
        // What waits may begin now.
        if !waiting.queue.is_empty() {
            self.shared.changed.notify_one();
        }
    }
}

/// Refuses what waits for a batch when there will be none.
struct Abandon<W: Workers>(Arc<Shared<W>>);

impl<W: Workers> Drop for Abandon<W> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.abandoned = true;
        let refused = waiting.queue.take_all();
        drop(waiting);
        refuse_all(refused, &gone());
    }
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "requests to this model are not dispatched any more; the server or the model ends")
}

/// Forms batches for as long as the dispatcher lives.
pub(super) async fn dispatch<W: Workers>(shared: Arc<Shared<W>>) {
    // The server ends when this panics; who waits here must not hold that up.
    let _abandon = Abandon(shared.clone());
    loop {
        shared.changed.notified().await;
        while !shared.waiting().queue.is_empty() {
            let reserved = tokio::select! {
                reserved = shared.reserve_in_time() => reserved,
                () = shared.expire_in_time() => {
                    // Who comes next has not been held back yet.
                    shared.waiting().held_since = None;
                    continue;
                }
            };
            let Some(place) = reserved else {
                if shared.pool.is_out_of_order() {
                    refuse_all(shared.waiting().queue.take_all(), &shared.out_of_order());
                }
                sleep(RETRY_PAUSE).await;
                shared.expire(now());
                continue;
            };
            let batch = shared.take_batch();
            if !batch.is_empty() {
                shared.begin(&Handle::current(), place, batch);
            }
        }
    }
}

impl<W: Workers> Shared<W> {
    /// Has a batch scored in a task of its own, so that a caller that leaves does not
    /// leave a worker in the middle of a call.
    pub(super) fn begin(self: &Arc<Self>, runtime: &Handle, place: Place<W>, batch: Vec<Entry>) {
        let running = Running::count(self, &batch);
        let execution = self.clone().execute(place, batch);
        let shared = self.clone();
        runtime.spawn(async move {
            // The members of the batch that were not answered are told by what they wait
            // for; worker and slot were given back on the way.
            if let Err(panic) = AssertUnwindSafe(execution).catch_unwind().await {
                tracing::error!(
                    model.name = %shared.settings.model,
                    model.version = shared.settings.version,
                    "a scoring task panicked: {}",
                    panic_text(panic.as_ref())
                );
            }
            drop(running);
        });
    }

    /// Waits until a batch may begin, and then for a worker and a slot; `None` when no
    /// worker can be had now.
    async fn reserve_in_time(&self) -> Option<Place<W>> {
        self.hold_back().await;
        let worker = self.reserve().await?;
        if !self.settings.max_delay.is_zero() {
            self.wait_for_more().await;
        }
        Some(self.place(worker).await)
    }

    /// Resolves when what waits is worth a call beside those that run.
    async fn hold_back(&self) {
        loop {
            let until = {
                let mut waiting = self.waiting();
                let Some(deadline) = waiting.queue.earliest_deadline() else { return };
                let Start::Later { rows, within } = self.start(&waiting, waiting.queue.rows(), deadline) else {
                    waiting.told_from = 0;
                    return;
                };
                waiting.told_from = rows;
                let now = now();
                waiting.held_since.get_or_insert(now);
                now + within
            };
            tokio::select! {
                () = sleep_until(until.into()) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Whether so many rows begin now; they are what waits, or the only ones.
    pub(super) fn start(&self, waiting: &Waiting, rows: usize, deadline: Instant) -> Start {
        if !self.joining.load(Ordering::Relaxed) {
            return Start::Now;
        }
        let now = now();
        let moment = Moment {
            queued_rows: rows,
            running_batches: waiting.running_batches,
            running_rows: waiting.running_rows,
            core_to_spare: self.slots.busy() + 1 < self.settings.cores,
            held: waiting.held_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            time_left: deadline.saturating_duration_since(now),
        };
        pacing::start(&moment, &self.cost(), self.settings.batch.max_rows)
    }

    /// Waits for a worker; `None` when none can be had now.
    async fn reserve(&self) -> Option<W::Worker> {
        match self.pool.reserve().await {
            Ok(worker) => {
                self.without_worker.store(false, Ordering::Relaxed);
                Some(worker)
            }
            Err(error) => {
                // Said once, however often it is tried.
                if !self.without_worker.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        model.name = %self.settings.model,
                        model.version = self.settings.version,
                        error = %error,
                        "no worker can be had at the moment; requests wait"
                    );
                }
                None
            }
        }
    }

    /// What is expected of the batches that leave while much waits.
    pub(super) fn batches_to_come(&self) -> Batches {
        let cost = *self.cost();
        let crowd = Situation { queued_rows: usize::MAX, free_workers: 1, time_left: Duration::MAX };
        let max_rows = batching::cap(&self.settings.batch, &crowd, &cost);
        Batches { max_rows: self.joining.load(Ordering::Relaxed).then_some(max_rows), cost }
    }

    fn take_batch(&self) -> Vec<Entry> {
        let now = now();
        self.expire(now);
        let mut waiting = self.waiting();
        waiting.held_since = None;
        let Some(deadline) = waiting.queue.earliest_deadline() else { return Vec::new() };
        let situation = Situation {
            queued_rows: waiting.queue.rows(),
            free_workers: 1 + self.free_workers(),
            time_left: deadline.saturating_duration_since(now),
        };
        let cap = batching::cap(&self.settings.batch, &situation, &self.cost());
        waiting.queue.take_batch(cap, self.joining.load(Ordering::Relaxed), now)
    }

    /// Tells those whose time is up so when it is; resolves when nobody waits any more.
    async fn expire_in_time(&self) {
        loop {
            let Some(until) = self.waiting().queue.next_expiry() else { return };
            tokio::select! {
                () = sleep_until(until.into()) => self.expire(now()),
                () = self.expiry.notified() => {}
            }
        }
    }

    fn expire(&self, now: Instant) {
        let expired = self.waiting().queue.take_expired(now);
        for (entry, error) in expired {
            entry.answer(Err(error));
        }
    }

    /// Lets rows gather up to the delay that the operator allows, and for no more than
    /// half of the time that who has the least of it can spare.
    async fn wait_for_more(&self) {
        let began = now();
        loop {
            let until = {
                let waiting = self.waiting();
                let (rows, deadline) = (waiting.queue.rows(), waiting.queue.earliest_deadline());
                let Some(deadline) = deadline.filter(|_| rows < self.settings.batch.max_rows) else { return };
                let left = deadline.saturating_duration_since(began);
                began + self.settings.max_delay.min(left.saturating_sub(self.cost().expected(rows)) / 2)
            };
            tokio::select! {
                () = sleep_until(until.into()) => return,
                () = self.changed.notified() => {}
            }
        }
    }
}
