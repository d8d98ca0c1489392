//! Keeps a pool at its size: replaces workers that died as soon as their death is
//! known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool::managed::{Pool, PoolError, TimeoutType, Timeouts};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PoolSettings;
use super::births::Births;
use super::health::HealthRecord;
use super::manager::Manager;
use super::zygote::{Event, ZygoteSlot};
use crate::telemetry::metrics::{self, DeathReason};
use crate::worker::protocol::ExitStatus;

/// Pause before the second attempt to fill the pool; doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// For taking a worker only if nobody has to be waited for.
pub(super) const AT_ONCE: Timeouts = Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };

/// Workers that ended, by reason.
type Ended = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Handle of the task that watches over a pool.
pub(super) struct Supervisor {
    events: mpsc::UnboundedSender<Event>,
    ended: Ended,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    pub(super) fn spawn(
        settings: Arc<PoolSettings>,
        workers: Pool<Manager>,
        zygote: Arc<ZygoteSlot>,
        health: Arc<HealthRecord>,
        events: mpsc::UnboundedSender<Event>,
        inbox: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = Ended::default();
        let background = settings.background.clone();
        let watch = Watch { settings, workers, zygote, health, ended: ended.clone() };
        let task = background.spawn("supervisor of a pool", async move {
            tokio::select! {
                () = watch.run(inbox) => {}
                _ = stopped => {}
            }
        });
        Self { events, ended, stop: Mutex::new(Some(stop)), task: Mutex::new(Some(task)) }
    }

    /// Workers that ended so far, by reason.
    pub(super) fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Asks for the pool to be brought back to its size.
    pub(super) fn refill(&self) {
        let _ = self.events.send(Event::Refill);
    }

    /// Stops watching; workers and zygote stay as they are.
    pub(super) async fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        drop(stop);
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

struct Watch {
    settings: Arc<PoolSettings>,
    workers: Pool<Manager>,
    zygote: Arc<ZygoteSlot>,
    health: Arc<HealthRecord>,
    ended: Ended,
}

impl Watch {
    async fn run(&self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let mut pause = FIRST_BACKOFF;
        let mut births = Births::new(self.workers.status().max_size);
        loop {
            let event = if self.is_full() || self.zygote.current().has_ended() {
                pause = FIRST_BACKOFF;
                inbox.recv().await
            } else {
                // All places were held while the pool was to be filled, or forking failed.
                match timeout(pause.max(births.pause(Instant::now())), inbox.recv()).await {
                    Ok(event) => event,
                    Err(_) => {
                        pause = (pause * 2).min(MAX_BACKOFF);
                        Some(Event::Refill)
                    }
                }
            };
            let Some(event) = event else { return };
            match event {
                Event::WorkerEnded { id, status, life } => {
                    self.note_death(id, status, life.expected);
                    if births.died(life.was_stillborn, Instant::now()) {
                        self.say_that_births_pause();
                    }
                }
                Event::TermOver { worker } if worker.strong_count() > 0 => self.fork_successor().await,
                Event::TermOver { .. } => continue,
                Event::Refill => {}
            }
            // Events that arrived meanwhile ask for the same.
            self.workers.retain(|worker, _| worker.is_idle_and_alive());
            if self.zygote.current().has_ended() {
                // Its keeper asks for a refill when there is another one.
                continue;
            }
            if !births.pause(Instant::now()).is_zero() {
                continue;
            }
            if let Err(error) = fill(&self.workers).await {
                tracing::error!(
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    error = %error,
                    "a worker could not be forked"
                );
            }
        }
    }

    fn is_full(&self) -> bool {
        let status = self.workers.status();
        status.size >= status.max_size
    }

    fn note_death(&self, id: u64, status: ExitStatus, expected: Option<DeathReason>) {
        let reason = expected.unwrap_or(DeathReason::Crashed);
        *self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(reason.name()).or_default() += 1;
        metrics::worker_died((&self.settings.model, self.settings.version), reason);
        // Whoever had a call on it may have seen the end first, and said so in the log.
        match reason {
            DeathReason::Crashed => self.health.worker_failed(format!("a worker died ({status})")),
            DeathReason::TimedOut => self.health.worker_failed("a worker did not stop at a deadline".to_owned()),
            DeathReason::Memory | DeathReason::Retired | DeathReason::Stopped => {}
        }
        if expected.is_none() {
            tracing::warn!(
                model.name = %self.settings.model,
                model.version = self.settings.version,
                worker.id = id,
                "a worker died ({status}); another one takes its place"
            );
        }
    }

    fn say_that_births_pause(&self) {
        tracing::error!(
            model.name = %self.settings.model,
            model.version = self.settings.version,
            "workers die as soon as they are forked, before anything is asked of them; others are forked at \
             growing pauses"
        );
    }

    /// A worker that is busy finds its successor when it comes back; one that is
    /// idle is exchanged now.
    async fn fork_successor(&self) {
        match self.workers.manager().fork_spare().await {
            Ok(()) => visit_idle(&self.workers).await,
            Err(error) => tracing::warn!(
                model.name = %self.settings.model,
                model.version = self.settings.version,
                error = %error,
                "a worker has served its term and its successor could not be forked; it goes on"
            ),
        }
    }
}

/// Forks workers until the pool has its size.
///
/// `deadpool` makes an object only for somebody who asks while none is idle, so
/// this takes every idle worker for the moments that the forks last. Requests
/// that come meanwhile wait in the pool's queue and get theirs as they return.
/// When one of them holds a place already and waits for an idle worker, there may
/// be none left for a fork; then the pool stays short, and the caller tries again.
pub(super) async fn fill(workers: &Pool<Manager>) -> std::io::Result<()> {
    let mut held = Vec::new();
    while workers.status().size < workers.status().max_size {
        match workers.timeout_get(&AT_ONCE).await {
            Ok(worker) => held.push(worker),
            Err(PoolError::Timeout(TimeoutType::Wait) | PoolError::Closed) => break,
            Err(PoolError::Backend(error)) => return Err(error),
            Err(error) => return Err(std::io::Error::other(error.to_string())),
        }
    }
    Ok(())
}

/// Has every idle worker looked at, as if it had been reserved and come back.
pub(super) async fn visit_idle(workers: &Pool<Manager>) {
    let mut held = Vec::new();
    for _ in 0..workers.status().available {
        match workers.timeout_get(&AT_ONCE).await {
            Ok(worker) => held.push(worker),
            // All are busy, or one that died could not be replaced, which is noted elsewhere.
            Err(_) => break,
        }
    }
}
