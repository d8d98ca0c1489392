//! Workers by script: a call takes the time that the script says, by a clock
//! that stands still until everybody waits, and doubles its numbers. What comes
//! of a call can be chosen by the numbers in it.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Float64Array, RecordBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout_at};

use crate::error::Condition;
use crate::pool::{CallEnd, Health, WorkerEnd, WorkerLost};
use crate::scoring::workers::{ScoringWorker, Workers};
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ExitStatus, Predictions, ScoreCall, ScoreReply};

/// A row that ends its worker.
pub(super) const CRASHES: f64 = -1.0;
/// A row that raises an R error.
pub(super) const FAILS: f64 = -2.0;
/// A row whose call never ends by itself.
pub(super) const HANGS: f64 = -3.0;
/// A row whose call takes [`SLOW_CALL`].
pub(super) const IS_SLOW: f64 = -4.0;
/// A row that meets a defect of the server in its call.
pub(super) const PANICS: f64 = -5.0;
/// A row whose call takes [`LONG_CALL`], which is longer than what others wait for.
pub(super) const IS_LONG: f64 = -6.0;
/// A row whose prediction is how many rows its call has.
pub(super) const COUNTS: f64 = -7.0;
/// Time of a long call.
pub(super) const LONG_CALL: Duration = Duration::from_secs(3);
/// Time of a slow call.
pub(super) const SLOW_CALL: Duration = Duration::from_millis(100);

/// A call that a worker was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Since the script began.
    pub(super) at: Duration,
    pub(super) rows: Vec<f64>,
}

/// The pool.
pub(super) struct Script {
    size: usize,
    free: Arc<Semaphore>,
    log: Arc<Log>,
    fixed: Duration,
    per_row: Duration,
    discarded: AtomicUsize,
    is_away: AtomicBool,
    panics: Panics,
}

/// Which parts of the pool have a defect.
#[derive(Default)]
struct Panics {
    /// The next time only.
    discarding: AtomicBool,
    reserving: AtomicBool,
}

struct Log {
    began: Instant,
    calls: Mutex<Vec<Call>>,
}

pub(super) struct ScriptedWorker {
    _free: OwnedSemaphorePermit,
    log: Arc<Log>,
    fixed: Duration,
    per_row: Duration,
}

impl Script {
    /// So many workers, whose calls take a fixed time and a time per row.
    pub(super) fn new(size: usize, fixed: Duration, per_row: Duration) -> Arc<Self> {
        let log = Log { began: super::super::now(), calls: Mutex::default() };
        Arc::new(Self {
            size,
            free: Arc::new(Semaphore::new(size)),
            log: Arc::new(log),
            fixed,
            per_row,
            discarded: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
            panics: Panics::default(),
        })
    }

    /// How many workers were discarded.
    pub(super) fn discarded(&self) -> usize {
        self.discarded.load(Ordering::Relaxed)
    }

    /// Whether workers that are not busy already can't be had, as while a zygote is
    /// replaced.
    pub(super) fn set_away(&self, away: bool) {
        self.is_away.store(away, Ordering::Relaxed);
    }

    /// From now on the next attempt to discard a worker meets a defect.
    pub(super) fn panic_when_discarding(&self) {
        self.panics.discarding.store(true, Ordering::Relaxed);
    }

    /// From now on waiting for a worker meets a defect.
    pub(super) fn panic_when_reserving(&self) {
        self.panics.reserving.store(true, Ordering::Relaxed);
    }

    /// All calls so far, in the order in which they began.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.log.calls.lock().expect("no panic").clone()
    }

    /// Time since the script began.
    pub(super) fn elapsed(&self) -> Duration {
        super::super::now() - self.log.began
    }

    fn worker(&self, permit: OwnedSemaphorePermit) -> ScriptedWorker {
        ScriptedWorker { _free: permit, log: self.log.clone(), fixed: self.fixed, per_row: self.per_row }
    }
}

impl Workers for Script {
    type Worker = ScriptedWorker;

    async fn reserve(&self) -> io::Result<ScriptedWorker> {
        assert!(!self.panics.reserving.load(Ordering::Relaxed), "a defect in reserving");
        let permit = self.free.clone().acquire_owned().await.map_err(io::Error::other)?;
        if self.is_away.load(Ordering::Relaxed) {
            return Err(io::Error::other("the zygote is being replaced"));
        }
        Ok(self.worker(permit))
    }

    fn try_reserve(&self) -> Option<ScriptedWorker> {
        let permit = self.free.clone().try_acquire_owned().ok().filter(|_| !self.is_away.load(Ordering::Relaxed));
        permit.map(|permit| self.worker(permit))
    }

    fn discard(&self, worker: ScriptedWorker, _: DeathReason) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
        // The next one is there at once.
        drop(worker);
        assert!(!self.panics.discarding.swap(false, Ordering::Relaxed), "a defect in discarding");
    }

    fn size(&self) -> usize {
        self.size
    }

    fn busy(&self) -> usize {
        self.size - self.free.available_permits()
    }

    fn ended(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    fn health(&self) -> Health {
        Health::default()
    }

    fn is_out_of_order(&self) -> bool {
        false
    }

    fn interrupt_grace(&self) -> Duration {
        Duration::ZERO
    }
}

impl ScoringWorker for ScriptedWorker {
    fn id(&self) -> u64 {
        1
    }

    fn calls(&self) -> u64 {
        self.log.calls.lock().expect("no panic").len() as u64
    }

    fn watch_end(&self) -> WorkerEnd {
        WorkerEnd::Known(ExitStatus::Code(1))
    }

    async fn score(&mut self, call: &ScoreCall) -> Result<ScoreReply, WorkerLost> {
        let rows = numbers(call.inputs.as_single().expect("one input"));
        self.log
            .calls
            .lock()
            .expect("no panic")
            .push(Call { at: super::super::now() - self.log.began, rows: rows.clone() });
        let usual = self.fixed + self.per_row * u32::try_from(rows.len()).expect("few rows");
        let time = match () {
            () if rows.contains(&IS_LONG) => LONG_CALL,
            () if rows.contains(&IS_SLOW) => SLOW_CALL,
            () => usual,
        };
        sleep(time).await;
        let mut outcome =
            Ok(Predictions { batch: column(rows.iter().map(|x| predict(*x, rows.len()))), unnamed: true });
        // The first of them decides, as where R goes from row to row.
        if let Some(row) = rows.iter().find(|row| [HANGS, PANICS, CRASHES, FAILS].contains(row)) {
            assert!(*row != PANICS, "a defect in a call");
            match *row {
                HANGS => pending().await,
                CRASHES => return Err(io::Error::other("it crashed").into()),
                _ => {
                    let (class, message) = (vec!["error".to_owned()], "it failed".to_owned());
                    outcome = Err(Condition { class, message, call: None });
                }
            }
        }
        Ok(ScoreReply {
            id: call.id,
            outcome,
            warnings: Vec::new(),
            retire: false,
            collections: 0,
            convert_nanoseconds: 0,
            score_nanoseconds: u64::try_from(time.as_nanos()).expect("a short time"),
        })
    }

    async fn score_until(&mut self, call: &ScoreCall, deadline: Instant, _: Duration) -> Result<ScoreReply, CallEnd> {
        match timeout_at(deadline.into(), self.score(call)).await {
            Ok(answer) => answer.map_err(CallEnd::Lost),
            Err(_) => Err(CallEnd::TimedOut { recovered: true }),
        }
    }
}

fn predict(x: f64, rows: usize) -> f64 {
    if x == COUNTS { rows as f64 } else { 2.0 * x }
}

/// A batch with one column of these numbers.
pub(super) fn column(values: impl IntoIterator<Item = f64>) -> RecordBatch {
    let values = Arc::new(Float64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("x", values as _)]).expect("one column")
}

/// The numbers of a batch with one column.
pub(super) fn numbers(batch: &RecordBatch) -> Vec<f64> {
    batch.column(0).as_primitive::<Float64Type>().values().to_vec()
}
