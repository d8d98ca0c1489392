//! Where a batch is scored: a worker, and the slot that lets it compute. The worker
//! comes first, for a slot that waits for a worker would keep other models from
//! scoring; and who holds a slot waits for no worker, so that nobody waits in a
//! circle. What is kept meanwhile is an idle worker, which only its own version
//! could use, and that is waiting for the same slot.

use std::time::Instant;

use tokio::time::timeout_at;

use super::execution::too_late;
use super::{RETRY_PAUSE, Shared};
use crate::error::Result;
use crate::scoring::slots::ScoringSlot;
use crate::scoring::workers::Workers;
use crate::telemetry::metrics::DeathReason;

/// A worker with a slot. Both are given back when it is dropped, the worker first.
pub(super) struct Place<W: Workers> {
    pub(super) worker: W::Worker,
    _slot: ScoringSlot,
}

impl<W: Workers> Shared<W> {
    /// A place if a slot and a worker are free; never waits.
    pub(super) fn try_place(&self) -> Option<Place<W>> {
        let slot = self.slots.try_acquire(self.holder)?;
        let worker = self.pool.try_reserve()?;
        Some(Place { worker, _slot: slot })
    }

    /// Waits for a slot in which a worker may compute.
    pub(super) async fn place(&self, worker: W::Worker) -> Place<W> {
        Place { worker, _slot: self.slots.acquire(self.holder).await }
    }

    /// Waits for a worker and a slot: while the zygote is being replaced, there may be
    /// no worker for a moment.
    ///
    /// # Errors
    /// There was none until the deadline, or none is to be expected.
    pub(super) async fn place_until(&self, deadline: Instant) -> Result<Place<W>> {
        let placing = async {
            loop {
                match self.pool.reserve().await {
                    Ok(worker) => return Ok(self.place(worker).await),
                    Err(_) if self.pool.is_out_of_order() => return Err(self.out_of_order()),
                    Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
                }
            }
        };
        timeout_at(deadline.into(), placing).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// The place, unless its worker asked to be replaced.
    pub(super) fn keep(&self, place: Place<W>, retire: bool) -> Option<Place<W>> {
        if retire {
            self.discard(place, DeathReason::Retired);
            return None;
        }
        Some(place)
    }

    /// The place if R stopped when it was interrupted; otherwise its worker is ended.
    pub(super) fn keep_if_recovered(&self, place: Place<W>, recovered: bool) -> Option<Place<W>> {
        if recovered {
            return Some(place);
        }
        self.discard(place, DeathReason::TimedOut);
        None
    }

    /// Ends the worker of a place, and gives back the slot: another worker has to be
    /// waited for.
    pub(super) fn discard(&self, place: Place<W>, reason: DeathReason) {
        let Place { worker, _slot } = place;
        self.pool.discard(worker, reason);
    }
}
