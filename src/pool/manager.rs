//! The `deadpool` manager: creating a worker is forking one, recycling it is
//! making sure that it can take another call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use tokio::sync::mpsc;

use super::PoolSettings;
use super::worker::Worker;
use super::zygote::{Event, ZygoteSlot};
use crate::telemetry::metrics::{self, StartReason};

/// Makes and checks the workers of one pool.
pub struct Manager {
    settings: Arc<PoolSettings>,
    zygote: Arc<ZygoteSlot>,
    filled_once: AtomicBool,
    events: mpsc::UnboundedSender<Event>,
}

impl Manager {
    pub(super) fn new(
        settings: Arc<PoolSettings>,
        zygote: Arc<ZygoteSlot>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self { settings, zygote, filled_once: AtomicBool::new(false), events }
    }

    /// From now on each new worker takes the place of one that ended.
    pub(super) fn first_fill_is_over(&self) {
        self.filled_once.store(true, Ordering::Relaxed);
    }
}

impl deadpool::managed::Manager for Manager {
    type Type = Worker;
    type Error = io::Error;

    async fn create(&self) -> Result<Worker, io::Error> {
        let worker = self.zygote.current().fork().await?;
        let reason = match self.filled_once.load(Ordering::Relaxed) {
            false => StartReason::Initial,
            true => StartReason::Replacement,
        };
        metrics::worker_started((&self.settings.model, self.settings.version), reason);
        Ok(worker)
    }

    async fn recycle(&self, worker: &mut Worker, _metrics: &Metrics) -> RecycleResult<io::Error> {
        if worker.is_idle_and_alive() {
            Ok(())
        } else {
            // Whoever asked may be content with another worker, or give up: the pool must
            // not stay one short for that.
            let _ = self.events.send(Event::Refill);
            Err(RecycleError::message("the worker is gone or out of step"))
        }
    }
}
