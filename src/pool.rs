//! The bounded pool of workers of one model version. A zygote process loads the
//! model once; a `deadpool` pool forks its workers, checks them when they come
//! back and never holds more than its size; a supervisor replaces what dies.

mod births;
mod breaker;
mod caretaker;
mod health;
mod keeper;
mod launch;
mod ledger;
mod manager;
pub mod memory;
pub mod orphans;
mod output;
mod process;
mod sizing;
mod supervisor;
mod upkeep;
mod warm_up;
mod worker;
mod zygote;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolConfig, PoolError, QueueMode, Timeouts};
use futures_util::FutureExt;

use self::caretaker::Caretaker;
use self::health::HealthRecord;
pub use self::health::{Health, ZygoteState};
use self::keeper::Keeper;
pub use self::manager::Manager;
pub use self::sizing::{MemoryShare, Sizing};
use self::supervisor::Supervisor;
pub use self::upkeep::Upkeep;
pub use self::warm_up::WarmUp;
pub use self::worker::{BeginError, CallEnd, Worker, WorkerEnd, WorkerLost};
use self::zygote::ZygoteSlot;
use crate::lifecycle::Background;
use crate::model::bundle::Identity;
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{LoadRequest, LoadedModel};

/// A worker on loan from the pool; it goes back when dropped.
pub type ReservedWorker = Object<Manager>;

/// What a pool runs and how much of it.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Model name, for the log and metrics.
    pub model: Arc<str>,
    /// Model version.
    pub version: u32,
    /// The rscore binary, which the zygote runs as `rscore worker`.
    pub executable: PathBuf,
    /// Environment of the zygote and its workers; nothing else is passed on.
    pub environment: Vec<(String, String)>,
    /// The bundle.
    pub load: LoadRequest,
    /// The rows to warm up with; none for a model that must not be scored before
    /// the fork.
    pub warm_up: Option<WarmUp>,
    /// Workers, at most.
    pub size: usize,
    /// How workers are kept fit.
    pub upkeep: Upkeep,
    /// How long loading may take.
    pub load_timeout: Duration,
    /// Largest reply of a worker in bytes.
    pub max_reply_bytes: usize,
    /// What the bundle must still be whenever a zygote loads it; nothing for one
    /// that may change.
    pub identity: Option<Identity>,
    /// Reports panics of the pool's tasks.
    pub background: Background,
}

impl PoolSettings {
    /// Settles how many workers there are and how large they may get, now that the
    /// size of the zygote is known; says so in one line.
    fn fit_to_memory(&mut self, zygote: u64) {
        let sizing = &self.upkeep.sizing;
        let (model, version) = (&*self.model, self.version);
        let Some(share) = sizing.memory else {
            // A trial may run fewer, which the reason would not explain.
            if self.size == sizing.workers {
                tracing::info!(model.name = model, model.version = version, "{} workers: {}", self.size, sizing.reason);
            }
            return;
        };
        let fit = share.workers(zygote);
        self.size = self.size.min(sizing.workers_beside(zygote));
        let bounds = share.bounds(zygote, self.size);
        let told = format!("{} workers: {}, memory allows {fit}", self.size, sizing.reason);
        if self.upkeep.max_rss_bytes == 0 {
            self.upkeep.max_rss_bytes = bounds.max_rss_bytes;
        }
        if self.upkeep.max_growth_bytes == 0 {
            self.upkeep.max_growth_bytes = bounds.max_growth_bytes;
        }
        let rss = self.upkeep.max_rss_bytes / MEGABYTE;
        let growth = self.upkeep.max_growth_bytes / MEGABYTE;
        tracing::info!(
            model.name = model,
            model.version = version,
            "{told}; each is replaced above {rss} MB and stopped when it has grown by {growth} MB"
        );
        if self.size > fit {
            tracing::warn!(
                model.name = model,
                model.version = version,
                "the workers may not fit in memory; set workers.count to 0, or give the server more"
            );
        }
    }
}

/// Bytes, for the log.
const MEGABYTE: u64 = 1024 * 1024;

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// R refused the bundle.
    #[error("{}", describe(.0))]
    Refused(crate::error::Condition),
    /// The zygote ended before it answered; model code may have called `quit()`.
    #[error("the process that loads the model ended before it was ready ({0}); the log has what it printed last")]
    Ended(String),
    /// Loading took too long.
    #[error("loading took longer than {} s; raise models.load_timeout if the model is that large", .0.as_secs())]
    TimedOut(Duration),
    /// The folder is not what it was when the version was first read.
    #[error(
        "files of its folder changed after it was first read; a version is loaded from one state of its folder \
             alone, and a model must not write into it"
    )]
    Changed,
    /// The system refused a process or a socket.
    #[error("the worker process can't be started: {0}")]
    System(#[from] std::io::Error),
}

fn describe(condition: &crate::error::Condition) -> String {
    match &condition.call {
        Some(call) => format!("{} (in {call})", condition.message),
        None => condition.message.clone(),
    }
}

/// The workers of one model version.
pub struct WorkerPool {
    settings: Arc<PoolSettings>,
    workers: Pool<Manager>,
    zygote: Arc<ZygoteSlot>,
    health: Arc<HealthRecord>,
    supervisor: Supervisor,
    keeper: Keeper,
    caretaker: Caretaker,
}

impl WorkerPool {
    /// Starts the zygote, lets it load the bundle, and forks all workers.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(mut settings: PoolSettings) -> Result<(Self, LoadedModel), StartError> {
        let (events, inbox) = tokio::sync::mpsc::unbounded_channel();
        let ledger = ledger::Ledger::default();
        let (zygote, loaded) = zygote::Zygote::start(&settings, &events, &ledger).await?;
        settings.fit_to_memory(memory::resident_bytes(zygote.process_id()));
        let settings = Arc::new(settings);
        let zygote = Arc::new(ZygoteSlot::new(zygote));
        let workers = Pool::builder(Manager::new(settings.clone(), zygote.clone(), events.clone()))
            .config(PoolConfig { queue_mode: QueueMode::Lifo, ..PoolConfig::new(settings.size) })
            .build()
            .map_err(|error| StartError::System(std::io::Error::other(error)))?;
        let caretaker = Caretaker::spawn(settings.clone(), workers.clone(), events.clone());
        let health = Arc::<HealthRecord>::default();
        let keeper = Keeper::spawn(settings.clone(), zygote.clone(), ledger, health.clone(), events.clone());
        let supervisor =
            Supervisor::spawn(settings.clone(), workers.clone(), zygote.clone(), health.clone(), events, inbox);
        let pool = Self { settings, workers, zygote, health, supervisor, keeper, caretaker };
        supervisor::fill(&pool.workers).await.map_err(|error| StartError::Ended(error.to_string()))?;
        pool.workers.manager().first_fill_is_over();
        Ok((pool, loaded))
    }

    /// Waits for a worker that nobody else uses.
    ///
    /// # Errors
    /// No worker can be forked, or the pool was stopped.
    pub async fn reserve(&self) -> Result<ReservedWorker, std::io::Error> {
        self.workers.timeout_get(&Timeouts::default()).await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            other => std::io::Error::other(other.to_string()),
        })
    }

    /// A worker that nobody uses, if there is one; never forks and never waits.
    pub fn try_reserve(&self) -> Option<ReservedWorker> {
        if self.workers.status().available == 0 {
            return None;
        }
        // With an idle worker and no wait, the future is ready at its first poll.
        match self.workers.timeout_get(&supervisor::AT_ONCE).now_or_never() {
            Some(worker) => worker.ok(),
            None => {
                // The worker was gone, and the pool began to fork another for us. We
                // can't wait for that, and held the place until now.
                self.supervisor.refill();
                None
            }
        }
    }

    /// Takes a worker out of the pool for good, ends it, and has it replaced.
    pub fn discard(&self, worker: ReservedWorker, reason: DeathReason) {
        Object::take(worker).end(reason);
    }

    /// Name and version of the model.
    pub fn model(&self) -> (&str, u32) {
        (&self.settings.model, self.settings.version)
    }

    /// How long R has to stop after it was interrupted, for [`Worker::score_until`].
    pub fn interrupt_grace(&self) -> Duration {
        self.settings.upkeep.interrupt_grace
    }

    /// Workers that there are when none is being replaced.
    pub fn full_size(&self) -> usize {
        self.settings.size
    }

    /// Workers that exist, busy or idle.
    pub fn size(&self) -> usize {
        self.workers.status().size
    }

    /// Workers that are scoring now.
    pub fn busy(&self) -> usize {
        let status = self.workers.status();
        status.size.saturating_sub(status.available)
    }

    /// Workers that ended so far, by reason.
    pub fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.supervisor.ended()
    }

    /// How its processes are.
    pub fn health(&self) -> Health {
        self.health.read(self.size())
    }

    /// Whether nothing can be scored now and no worker is to be expected soon: the
    /// model can't be loaded again at present.
    pub fn is_out_of_order(&self) -> bool {
        self.health.is_broken() && self.size() == 0
    }

    /// Process ids of the zygote (first) and its workers, for tests and memory metrics.
    pub fn process_ids(&self) -> Vec<u32> {
        self.zygote.process_ids()
    }

    /// Ends zygote and workers. Callers see to it that nothing is being scored.
    pub async fn stop(&self) {
        self.caretaker.stop();
        self.keeper.stop();
        self.workers.close();
        drop(self.workers.manager().take_spare());
        self.supervisor.stop().await;
        self.zygote.stop().await;
    }
}
