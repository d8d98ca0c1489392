//! Between the doors and the workers of one model version: requests wait in a
//! bounded queue, and whenever a worker and a scoring slot are free, what waits
//! at that moment becomes a batch. An idle server adds no delay; a busy one
//! grows its batches by itself. This file is what callers see; `forming.rs` makes
//! batches, `execution.rs` has them scored in a `place.rs`.

mod admitted;
mod blame;
mod execution;
mod forming;
mod place;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use self::admitted::Admitted;
use self::forming::{Pushed, Waiting};
use self::place::Place;
use super::batching::BatchLimits;
use super::cost::CostModel;
use super::pacing::Start;
use super::quarantine::{Quarantine, QuarantineLimits};
use super::queue::{Entry, QueueLimits, Ticket, bytes_of};
use super::slots::{Holder, ScoringSlots};
use super::workers::Workers;
use super::{Score, ScoreRequest, Scored, StageTimes, WorkerCounts};
use crate::error::{Error, Kind, Result};
use crate::frame::join::join;
use crate::frame::schema::{Inputs, SINGLE_INPUT};
use crate::lifecycle::Background;
use crate::pool::{Health, WorkerPool};
use crate::telemetry::context::RequestContext;
use crate::telemetry::metrics;

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
    /// One call in so many of several rows is scored again row by row; 0 means none.
    pub audit_every: u64,
    /// Cores that the server may use.
    pub cores: usize,
    /// Bounds of the queue.
    pub queue: QueueLimits,
    /// Reports a panic of the task that forms batches.
    pub background: Background,
    /// Bounds of what is remembered of requests that ended two workers.
    pub quarantine: QuarantineLimits,
}

/// Dispatches the requests of one model version. Dropping it refuses what waits.
pub struct Dispatcher<W: Workers = WorkerPool> {
    shared: Arc<Shared<W>>,
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

struct Shared<W: Workers> {
    settings: DispatchSettings,
    rows_like: String,
    pool: Arc<W>,
    slots: ScoringSlots,
    holder: Holder,
    waiting: Mutex<Waiting>,
    cost: Mutex<CostModel>,
    /// Something came or ended that may let a batch begin.
    changed: Notify,
    /// Somebody came whose time is up before that of all who wait, or nobody waits
    /// any more.
    expiry: Notify,
    quarantine: Quarantine,
    /// Whether no worker could be had when one was last asked for.
    without_worker: AtomicBool,
    /// Whether rows of different requests may be joined, and one request's split.
    joining: AtomicBool,
    /// What an audit found that ended it.
    refutation: OnceLock<String>,
    calls: AtomicU64,
    /// Calls that could have been audited.
    auditable: AtomicU64,
    /// Columns of an answer without rows, and whether they are unnamed.
    shape: OnceLock<(SchemaRef, bool)>,
}

impl<W: Workers> Dispatcher<W> {
    /// Starts dispatching to a pool; requests are not joined until
    /// [`Dispatcher::allow_joining`]. Must be called within the runtime that
    /// drives the pool.
    pub fn start(settings: DispatchSettings, pool: Arc<W>, slots: ScoringSlots) -> Self {
        let shared = Arc::new(Shared {
            rows_like: settings.rows_like.clone().unwrap_or_else(|| SINGLE_INPUT.to_owned()),
            waiting: Mutex::new(Waiting::new(settings.queue)),
            cost: Mutex::default(),
            changed: Notify::new(),
            expiry: Notify::new(),
            quarantine: Quarantine::new(settings.quarantine),
            without_worker: AtomicBool::new(false),
            joining: AtomicBool::new(false),
            refutation: OnceLock::new(),
            calls: AtomicU64::new(1),
            auditable: AtomicU64::new(0),
            shape: OnceLock::new(),
            holder: slots.holder(),
            settings,
            pool,
            slots,
        });
        let background = shared.settings.background.clone();
        let task = background.spawn("dispatcher of a model", forming::dispatch(shared.clone()));
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

    /// From now on an answer without rows has the columns of these predictions, which
    /// are the sample's: those of some caller may tell another what was sent.
    pub fn answer_no_rows_like(&self, predictions: &Scored) {
        self.shared.shape.get_or_init(|| (predictions.batch.schema(), predictions.unnamed));
    }

    /// Scores a request that is large and may be split: its parts on free workers,
    /// put together again in order. `None` when it has to be scored whole: the queue
    /// has no place for all parts, or they can't be put together.
    async fn score_in_parts(&self, request: &ScoreRequest, rows: usize, parts: usize) -> Option<Result<Scored>> {
        let batch = request.inputs.as_single()?;
        let size = rows.div_ceil(parts);
        let parts = (0..rows).step_by(size).map(|start| {
            let part = batch.slice(start, size.min(rows - start));
            self.admit(Inputs::single(part), request.deadline, request.context.clone())
        });
        let admitted: Vec<Admitted<'_, W>> = parts.collect::<Result<_>>().ok()?;
        let mut scored: Vec<Scored> = Vec::new();
        for part in join_all(admitted.into_iter().map(Admitted::answer)).await {
            match part {
                Ok(part) => scored.push(part),
                Err(error) => {
                    if *error.kind() == Kind::ModelCrashed {
                        // Next time it may be split otherwise, or not at all.
                        self.shared.quarantine.add(&request.inputs, now());
                    }
                    return Some(Err(error));
                }
            }
        }
        put_together(&scored).map(Ok)
    }

    /// Has a request scored as soon as there is a place, or refuses it.
    fn admit(
        &self,
        inputs: Inputs<RecordBatch>,
        deadline: Instant,
        context: RequestContext,
    ) -> Result<Admitted<'_, W>> {
        let shared = &self.shared;
        let Some(rows) = inputs.get(&shared.rows_like).map(RecordBatch::num_rows) else {
            return Err(Error::internal(format!("a request without the input '{}'", shared.rows_like)));
        };
        let (answer, answered) = oneshot::channel();
        let entry = Entry { inputs, rows, deadline, arrived: now(), context, answer };
        // On an idle server the request goes straight to a worker, without a detour
        // through the dispatching task.
        let ticket = match shared.reserve_at_once(&entry) {
            Some(place) => {
                shared.begin(&self.runtime, place, vec![entry]);
                None
            }
            None => Some(shared.push(entry)?),
        };
        Ok(Admitted::new(shared, ticket, answered))
    }

    /// How many parts a request of that many rows is worth now.
    fn parts_for(&self, inputs: &Inputs<RecordBatch>, rows: usize) -> usize {
        let shared = &self.shared;
        let split_rows = shared.settings.split_rows.max(1);
        if !shared.joining.load(Ordering::Relaxed) || rows < 2 * split_rows {
            return 1;
        }
        let parts = shared.free_workers().min(rows / split_rows).max(1);
        // A part that is refused would have the others scored for nothing.
        let queue = &shared.waiting().queue;
        if queue.is_empty() && queue.has_room(parts, rows, bytes_of(inputs)) { parts } else { 1 }
    }
}

impl<W: Workers> Score for Dispatcher<W> {
    fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
        Box::pin(async move {
            let rows = request.inputs.get(&self.shared.rows_like).map_or(0, RecordBatch::num_rows);
            if rows == 0 {
                // Many predict methods fail on no rows; the answer is known without them.
                return Ok(self.shared.shape.get().map_or_else(Scored::empty, |(columns, unnamed)| {
                    Scored::without_rows(Arc::clone(columns), *unnamed)
                }));
            }
            self.shared.check(&request.inputs)?;
            let parts = self.parts_for(&request.inputs, rows);
            if parts > 1
                && let Some(result) = self.score_in_parts(&request, rows, parts).await
            {
                return result;
            }
            self.admit(request.inputs, request.deadline, request.context)?.answer().await
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

    fn refutation(&self) -> Option<&str> {
        self.shared.refutation.get().map(String::as_str)
    }

    fn publish_metrics(&self) {
        let shared = &self.shared;
        let model = (&*shared.settings.model, shared.settings.version);
        let queue = &shared.waiting().queue;
        metrics::queue(model, queue.rows(), queue.bytes(), queue.age(now()));
        metrics::quarantine(model, shared.quarantine.len(now()));
    }
}

impl<W: Workers> Drop for Dispatcher<W> {
    fn drop(&mut self) {
        self.task.abort();
        for entry in self.shared.waiting().queue.take_all() {
            entry.answer(Err(Error::new(Kind::Unavailable, "the model was unloaded while the request waited")));
        }
    }
}

/// Pause before another worker is asked for when none could be had. Requests
/// wait on until their deadlines.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl<W: Workers> Shared<W> {
    /// Refuses what need not be tried: a request that ended two workers a short while
    /// ago, and any while the model can't be loaded again.
    fn check(&self, inputs: &Inputs<RecordBatch>) -> Result<()> {
        if self.pool.is_out_of_order() {
            return Err(self.out_of_order());
        }
        self.quarantine
            .check(inputs, now())
            .inspect_err(|_| metrics::quarantined((&self.settings.model, self.settings.version)))
    }

    fn out_of_order(&self) -> Error {
        let why = self.pool.health().outage().unwrap_or_else(|| "the model has no worker".to_owned());
        Error::new(Kind::Unavailable, "the model can't be scored at present; it is started again as soon as that works")
            .because(why)
    }

    /// A place, if nobody waits, one is free, and it is worth to begin with this
    /// request alone.
    fn reserve_at_once(&self, entry: &Entry) -> Option<Place<W>> {
        if !self.settings.max_delay.is_zero() {
            return None;
        }
        {
            let waiting = self.waiting();
            if !waiting.queue.is_empty() || self.start(&waiting, entry.rows, entry.deadline) != Start::Now {
                return None;
            }
        }
        self.try_place()
    }

    /// Has a request wait for a batch.
    fn push(&self, entry: Entry) -> Result<Ticket> {
        let next = self.batches_to_come();
        let Pushed { ticket, is_first, is_worth_a_look } = self.waiting().push(entry, &next)?;
        if is_first {
            self.expiry.notify_one();
        }
        if is_worth_a_look {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    /// Workers that could take a batch now.
    fn free_workers(&self) -> usize {
        self.slots.free().min(self.pool.size().saturating_sub(self.pool.busy()))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The time by the runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The predictions of all parts as one; `None` when they are not of one shape.
fn put_together(parts: &[Scored]) -> Option<Scored> {
    let unnamed = parts.first()?.unnamed;
    if parts.iter().any(|part| part.unnamed != unnamed) {
        return None;
    }
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
    let batch = join(&batches).ok()?;
    let longest = |time: fn(&StageTimes) -> Duration| parts.iter().map(|part| time(&part.times)).max();
    Some(Scored {
        batch,
        unnamed,
        warnings: parts.iter().flat_map(|part| part.warnings.iter().cloned()).collect(),
        times: StageTimes {
            queue: longest(|times| times.queue)?,
            convert: longest(|times| times.convert)?,
            score: longest(|times| times.score)?,
        },
        call: None,
    })
}
