//! The `deadpool` manager: creating a worker is forking one, recycling it is
//! making sure that it can take another call. A worker whose term is over is
//! exchanged there: its successor was forked before, and takes its place in the
//! pool between two calls, so that nobody waits for a fork.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool::managed::{Metrics, RecycleError, RecycleResult};
use tokio::sync::mpsc;

use super::PoolSettings;
use super::upkeep::EndOfTerm;
use super::worker::Worker;
use super::zygote::{Event, ZygoteSlot};
use crate::telemetry::metrics::{self, StartReason};
use crate::worker::protocol::Allotment;

/// Makes and checks the workers of one pool.
pub struct Manager {
    settings: Arc<PoolSettings>,
    zygote: Arc<ZygoteSlot>,
    events: mpsc::UnboundedSender<Event>,
    filled_once: AtomicBool,
    /// A worker that waits to take the place of another.
    spare: Mutex<Option<Worker>>,
    /// Whether it was said that the bound on memory can't be kept.
    warned_of_memory: AtomicBool,
}

impl Manager {
    pub(super) fn new(
        settings: Arc<PoolSettings>,
        zygote: Arc<ZygoteSlot>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            settings,
            zygote,
            events,
            filled_once: AtomicBool::new(false),
            spare: Mutex::default(),
            warned_of_memory: AtomicBool::new(false),
        }
    }

    /// From now on each new worker takes the place of one that ended.
    pub(super) fn first_fill_is_over(&self) {
        self.filled_once.store(true, Ordering::Relaxed);
    }

    /// Forks a worker to take the place of another, unless one is there.
    pub(super) async fn fork_spare(&self) -> io::Result<()> {
        if self.lock_spare().is_none() {
            let worker = self.fork().await?;
            *self.lock_spare() = Some(worker);
        }
        Ok(())
    }

    /// The worker that waits to take the place of another.
    pub(super) fn take_spare(&self) -> Option<Worker> {
        self.lock_spare().take().filter(Worker::is_idle_and_alive)
    }

    async fn fork(&self) -> io::Result<Worker> {
        let allotment = Allotment {
            max_growth_bytes: self.settings.upkeep.max_growth_bytes,
            workers: u32::try_from(self.settings.size).unwrap_or(u32::MAX),
        };
        let worker = self.zygote.current().fork(allotment).await?;
        let reason = match self.filled_once.load(Ordering::Relaxed) {
            false => StartReason::Initial,
            true => StartReason::Replacement,
        };
        metrics::worker_started((&self.settings.model, self.settings.version), reason);
        if worker.is_born_over(&self.settings.upkeep) && !self.warned_of_memory.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                model.name = %self.settings.model,
                model.version = self.settings.version,
                "workers.max_rss_bytes is less than the model needs and is not kept to; raise it above what a fresh worker has"
            );
        }
        Ok(worker)
    }

    /// Puts the successor in the place of a worker whose term is over, or asks for one.
    fn exchange_at_end_of_term(&self, worker: &mut Worker) {
        let Some(why) = worker.end_of_term(&self.settings.upkeep) else { return };
        if let Some(successor) = self.take_spare() {
            self.tell_of_exchange(worker, why);
            std::mem::replace(worker, successor).retire(why);
        } else if worker.asks_for_successor() {
            // Nobody listens any more when the pool is being stopped.
            let _ = self.events.send(Event::TermOver { worker: worker.life() });
        }
    }

    /// What comes every few seconds under load is no news.
    fn tell_of_exchange(&self, worker: &Worker, why: EndOfTerm) {
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    worker.id = worker.id(),
                    "a worker has served its term ({why}) and is replaced"
                )
            };
        }
        match why {
            EndOfTerm::Collections(_) => tell!(debug),
            EndOfTerm::Calls(_) | EndOfTerm::Memory(_) | EndOfTerm::Age(_) => tell!(info),
        }
    }

    fn lock_spare(&self) -> std::sync::MutexGuard<'_, Option<Worker>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl deadpool::managed::Manager for Manager {
    type Type = Worker;
    type Error = io::Error;

    async fn create(&self) -> Result<Worker, io::Error> {
        match self.take_spare() {
            Some(worker) => Ok(worker),
            None => self.fork().await,
        }
    }

    async fn recycle(&self, worker: &mut Worker, _metrics: &Metrics) -> RecycleResult<io::Error> {
        if !worker.is_idle_and_alive() {
            return Err(RecycleError::message("the worker is gone or out of step"));
        }
        self.exchange_at_end_of_term(worker);
        Ok(())
    }

    /// A worker has left the pool, whose size was lowered before. Whoever asked for
    /// it may be content with another one, or give up: the pool must not stay one
    /// short for that.
    fn detach(&self, _worker: &mut Worker) {
        let _ = self.events.send(Event::Refill);
    }
}
