//! Between the doors and the workers of one model version: requests wait in a
//! bounded queue, and whenever a scoring slot and a worker are free, what waits
//! at that moment becomes a batch. An idle server adds no delay; a busy one
//! grows its batches by itself.

mod execution;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::batching::{self, BatchLimits, Situation};
use super::cost::CostModel;
use super::quarantine::{Quarantine, QuarantineLimits};
use super::queue::{Entry, Queue, QueueLimits};
use super::slots::{Holder, ScoringSlot, ScoringSlots};
use super::{Score, ScoreRequest, Scored, StageTimes, WorkerCounts};
use crate::error::{Error, Kind, Result};
use crate::frame::join::join;
use crate::frame::schema::{Inputs, SINGLE_INPUT};
use crate::pool::{Health, ReservedWorker, WorkerPool};
use crate::telemetry::metrics;

/// Pause before another worker is asked for when none could be had. Requests
/// wait on until their deadlines.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How a version's requests are dispatched.
#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// Model name, for the log and metrics.
    pub model: Arc<str>,
    /// Model version.
    pub version: u32,
    /// The input whose row count the predictions have; none for a model with one input.
    pub rows_like: Option<String>,
    /// Bounds of a batch.
    pub batch: BatchLimits,
    /// Time to wait for more rows before a batch that is not full; zero by default.
    pub max_delay: Duration,
    /// A request of at least twice as many rows is split over free workers.
    pub split_rows: usize,
    /// One batch in so many is scored again row by row; 0 means none.
    pub audit_every: u64,
    /// Bounds of the queue.
    pub queue: QueueLimits,
    /// Bounds of what is remembered of requests that ended two workers.
    pub quarantine: QuarantineLimits,
}

/// Dispatches the requests of one model version. Dropping it refuses what waits.
pub struct Dispatcher {
    shared: Arc<Shared>,
    runtime: Handle,
    task: JoinHandle<()>,
    /// Dropped with the dispatcher, which those who wait for that see.
    alive: watch::Sender<()>,
}

/// Tells when a dispatcher is gone: nobody holds it, so nobody waits for an answer.
#[derive(Debug, Clone)]
pub struct Released {
    alive: watch::Receiver<()>,
}

impl Released {
    /// Resolves when the dispatcher is gone.
    pub async fn wait(&mut self) {
        // Nothing is ever sent: the only news is the end.
        while self.alive.changed().await.is_ok() {}
    }
}

struct Shared {
    settings: DispatchSettings,
    rows_like: String,
    pool: Arc<WorkerPool>,
    slots: ScoringSlots,
    holder: Holder,
    queue: Mutex<Queue>,
    cost: Mutex<CostModel>,
    arrived: Notify,
    quarantine: Quarantine,
    /// Whether no worker could be had when one was last asked for.
    without_worker: AtomicBool,
    /// Whether rows of different requests may be joined, and one request's split.
    joining: AtomicBool,
    calls: AtomicU64,
    batches: AtomicU64,
}

impl Dispatcher {
    /// Starts dispatching to a pool; requests are not joined until
    /// [`Dispatcher::allow_joining`]. Must be called within the runtime that
    /// drives the pool.
    pub fn start(settings: DispatchSettings, pool: Arc<WorkerPool>, slots: ScoringSlots) -> Self {
        let shared = Arc::new(Shared {
            rows_like: settings.rows_like.clone().unwrap_or_else(|| SINGLE_INPUT.to_owned()),
            queue: Mutex::new(Queue::new(settings.queue)),
            cost: Mutex::default(),
            arrived: Notify::new(),
            quarantine: Quarantine::new(settings.quarantine),
            without_worker: AtomicBool::new(false),
            joining: AtomicBool::new(false),
            calls: AtomicU64::new(1),
            batches: AtomicU64::new(0),
            holder: slots.holder(),
            settings,
            pool,
            slots,
        });
        let task = tokio::spawn(dispatch(shared.clone()));
        Self { shared, runtime: Handle::current(), task, alive: watch::Sender::new(()) }
    }

    /// Tells when nobody scores with this any more.
    pub fn released(&self) -> Released {
        Released { alive: self.alive.subscribe() }
    }

    /// From now on rows of different requests share calls. Only for a model whose
    /// rows were proved to be independent of each other.
    pub fn allow_joining(&self) {
        self.shared.joining.store(true, Ordering::Relaxed);
    }

    /// Scores a request that is large and may be split: its parts on free workers,
    /// put together again in order.
    async fn score_in_parts(&self, request: &ScoreRequest, rows: usize, parts: usize) -> Option<Result<Scored>> {
        let batch = request.inputs.as_single()?;
        let size = rows.div_ceil(parts);
        let parts = (0..rows).step_by(size).map(|start| {
            let part = batch.slice(start, size.min(rows - start));
            self.enqueue(Inputs::single(part), request.deadline, request.request_id.clone())
        });
        let mut scored: Vec<Scored> = Vec::new();
        for part in join_all(parts).await {
            match part {
                Ok(part) => scored.push(part),
                Err(error) => {
                    if *error.kind() == Kind::ModelCrashed {
                        // Next time it may be split otherwise, or not at all.
                        self.shared.quarantine.add(&request.inputs, Instant::now());
                    }
                    return Some(Err(error));
                }
            }
        }
        put_together(&scored).map(Ok)
    }

    async fn enqueue(&self, inputs: Inputs<RecordBatch>, deadline: Instant, request_id: Arc<str>) -> Result<Scored> {
        let shared = &self.shared;
        let Some(rows) = inputs.get(&shared.rows_like).map(RecordBatch::num_rows) else {
            return Err(Error::internal(format!("a request without the input '{}'", shared.rows_like)));
        };
        let (answer, answered) = oneshot::channel();
        let entry = Entry { inputs, rows, deadline, arrived: Instant::now(), request_id, answer };
        // On an idle server the request goes straight to a worker, without a detour
        // through the dispatching task.
        if let Some((slot, worker)) = shared.reserve_at_once() {
            self.runtime.spawn(shared.clone().execute(slot, worker, vec![entry]));
        } else {
            shared.queue().push(entry)?;
            shared.arrived.notify_one();
        }
        answered.await.unwrap_or_else(|_| Err(Error::internal("the scoring task ended without an answer")))
    }

    /// How many parts a request of that many rows is worth now.
    fn parts_for(&self, rows: usize) -> usize {
        let shared = &self.shared;
        let split_rows = shared.settings.split_rows.max(1);
        if !shared.joining.load(Ordering::Relaxed) || rows < 2 * split_rows || !shared.queue().is_empty() {
            return 1;
        }
        shared.free_workers().min(rows / split_rows).max(1)
    }
}

impl Score for Dispatcher {
    fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
        Box::pin(async move {
            let rows = request.inputs.get(&self.shared.rows_like).map_or(0, RecordBatch::num_rows);
            if rows == 0 {
                // Many predict methods fail on no rows; the answer is known without them.
                return Ok(Scored::empty());
            }
            self.shared.check(&request.inputs)?;
            let parts = self.parts_for(rows);
            if parts > 1
                && let Some(result) = self.score_in_parts(&request, rows, parts).await
            {
                return result;
            }
            self.enqueue(request.inputs, request.deadline, request.request_id).await
        })
    }

    fn ready_workers(&self) -> usize {
        self.shared.pool.size()
    }

    fn workers(&self) -> WorkerCounts {
        let pool = &self.shared.pool;
        let (size, busy) = (pool.size(), pool.busy());
        WorkerCounts { idle: size.saturating_sub(busy), busy, ended: pool.ended() }
    }

    fn health(&self) -> Health {
        self.shared.pool.health()
    }

    fn joins_requests(&self) -> bool {
        self.shared.joining.load(Ordering::Relaxed)
    }

    fn publish_metrics(&self) {
        let shared = &self.shared;
        let model = (&*shared.settings.model, shared.settings.version);
        let queue = shared.queue();
        metrics::queue(model, queue.rows(), queue.bytes(), queue.age(Instant::now()));
        metrics::quarantine(model, shared.quarantine.len(Instant::now()));
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.task.abort();
        for entry in self.shared.queue().take_all() {
            entry.answer(Err(Error::new(Kind::Unavailable, "the model was unloaded while the request waited")));
        }
    }
}

/// Forms batches for as long as the dispatcher lives.
async fn dispatch(shared: Arc<Shared>) {
    loop {
        shared.arrived.notified().await;
        while !shared.queue().is_empty() {
            // The worker first, then the batch: whatever arrives while all are busy
            // is in it.
            let reserved = tokio::select! {
                reserved = shared.reserve() => reserved,
                () = shared.expire_on_time() => continue,
            };
            let Some((slot, worker)) = reserved else {
                if shared.pool.is_out_of_order() {
                    refuse_all(shared.queue().take_all(), &shared.out_of_order());
                }
                tokio::time::sleep(RETRY_PAUSE).await;
                shared.expire(Instant::now());
                continue;
            };
            if !shared.settings.max_delay.is_zero() {
                shared.wait_for_more().await;
            }
            let batch = shared.take_batch();
            if !batch.is_empty() {
                tokio::spawn(shared.clone().execute(slot, worker, batch));
            }
        }
    }
}

impl Shared {
    /// Refuses what need not be tried: a request that ended two workers a short while
    /// ago, and any while the model can't be loaded again.
    fn check(&self, inputs: &Inputs<RecordBatch>) -> Result<()> {
        if self.pool.is_out_of_order() {
            return Err(self.out_of_order());
        }
        self.quarantine
            .check(inputs, Instant::now())
            .inspect_err(|_| metrics::quarantined((&self.settings.model, self.settings.version)))
    }

    fn out_of_order(&self) -> Error {
        let why = self.pool.health().outage().unwrap_or_else(|| "the model has no worker".to_owned());
        Error::new(Kind::Unavailable, "the model can't be scored at present; it is started again as soon as that works")
            .because(why)
    }

    /// Waits for a slot and a worker; `None` when no worker can be had now.
    async fn reserve(&self) -> Option<(ScoringSlot, ReservedWorker)> {
        let slot = self.slots.acquire(self.holder).await;
        match self.pool.reserve().await {
            Ok(worker) => {
                self.without_worker.store(false, Ordering::Relaxed);
                Some((slot, worker))
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

    /// A slot and a worker, if nobody waits and both are free.
    fn reserve_at_once(&self) -> Option<(ScoringSlot, ReservedWorker)> {
        if !self.queue().is_empty() || !self.settings.max_delay.is_zero() {
            return None;
        }
        let slot = self.slots.try_acquire(self.holder)?;
        let worker = self.pool.try_reserve()?;
        Some((slot, worker))
    }

    /// Workers that could take a batch now.
    fn free_workers(&self) -> usize {
        self.slots.free().min(self.pool.size().saturating_sub(self.pool.busy()))
    }

    fn take_batch(&self) -> Vec<Entry> {
        let now = Instant::now();
        self.expire(now);
        let mut queue = self.queue();
        let Some(deadline) = queue.earliest_deadline() else { return Vec::new() };
        let situation = Situation {
            queued_rows: queue.rows(),
            free_workers: 1 + self.free_workers(),
            time_left: deadline.saturating_duration_since(now),
        };
        let cap = batching::cap(&self.settings.batch, &situation, &self.cost());
        queue.take_batch(cap, self.joining.load(Ordering::Relaxed))
    }

    /// Resolves after those whose time was up were told so.
    async fn expire_on_time(&self) {
        let deadline = self.queue().earliest_deadline();
        match deadline {
            Some(deadline) => sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
        self.expire(Instant::now());
    }

    fn expire(&self, now: Instant) {
        let expired = self.queue().take_expired(now);
        for entry in expired {
            entry.answer(Err(Error::new(
                Kind::DeadlineExceeded,
                "the request waited for a free worker until its time was up",
            )));
        }
    }

    /// Lets rows gather up to the delay that the operator allows.
    async fn wait_for_more(&self) {
        let until = Instant::now() + self.settings.max_delay;
        loop {
            let full = self.queue().rows() >= self.settings.batch.max_rows;
            if full {
                return;
            }
            tokio::select! {
                () = sleep_until(until.into()) => return,
                () = self.arrived.notified() => {}
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost(&self) -> MutexGuard<'_, CostModel> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse_all(batch: Vec<Entry>, error: &Error) {
    for entry in batch {
        let detail = error.detail().to_owned();
        entry.answer(Err(Error::new(error.kind().clone(), detail)));
    }
}

/// The predictions of all parts as one; `None` when they are not of one shape.
fn put_together(parts: &[Scored]) -> Option<Scored> {
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
    let batch = join(&batches).ok()?;
    let longest = |time: fn(&StageTimes) -> Duration| parts.iter().map(|part| time(&part.times)).max();
    Some(Scored {
        batch,
        unnamed: parts.first()?.unnamed,
        warnings: parts.iter().flat_map(|part| part.warnings.iter().cloned()).collect(),
        times: StageTimes {
            queue: longest(|times| times.queue)?,
            convert: longest(|times| times.convert)?,
            score: longest(|times| times.score)?,
        },
    })
}
