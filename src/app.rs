//! Composition root: takes settings and bound listeners, builds every part and
//! connects them, and stops them in order. Callers bring the listeners and say
//! when to stop, so that tests drive the same code as the command line.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::auth::Verifier;
use crate::config::Settings;
use crate::http::{HttpParts, Server};
use crate::lifecycle::{Drained, Lifecycle, Phase};
use crate::model::repository::{self, Entry};
use crate::pool::memory::{self, ProportionalSize};
use crate::pool::{Upkeep, WorkerPool};
use crate::scoring::Scorer;
use crate::scoring::catalog::{Catalog, State};
use crate::scoring::independence::RowIndependence;
use crate::scoring::load::{LoadContext, load};
use crate::scoring::slots::ScoringSlots;
use crate::telemetry::metrics::{self, WorkerState};

/// What an application is made of.
pub struct Parts {
    /// Settings that passed validation.
    pub settings: Settings,
    /// The callers' listener.
    pub callers: TcpListener,
    /// The operator's listener.
    pub operator: TcpListener,
    /// Certificate and key; callers are served over plain HTTP without.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// The rscore binary, for the worker processes.
    pub executable: PathBuf,
    /// Environment of the worker processes.
    pub environment: Vec<(String, String)>,
}

/// A server whose listeners are open.
pub struct Application {
    server: Server,
    catalog: Catalog,
    lifecycle: Lifecycle,
    pools: Pools,
    loaded: watch::Receiver<bool>,
    background: JoinSet<()>,
}

/// How often the recorder is told to fold observations away; they would pile up
/// where nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The pools of all versions that are loaded, to be stopped at the end.
#[derive(Clone, Default)]
struct Pools {
    entries: Arc<Mutex<Vec<PoolEntry>>>,
}

#[derive(Clone)]
struct PoolEntry {
    model: Arc<str>,
    version: u32,
    pool: Arc<WorkerPool>,
    scorer: Scorer,
    proportional: Arc<ProportionalSize>,
}

impl Application {
    /// Opens the listeners and begins to load all models in parallel. Each
    /// can be scored as soon as it is loaded.
    ///
    /// # Errors
    /// The repository can't be read, or a listener can't be served.
    pub fn start(parts: Parts) -> io::Result<Self> {
        let Parts { settings, callers, operator, tls, verifier, executable, environment } = parts;
        metrics::install();
        let scan = repository::scan(&settings.models.path).map_err(|error| {
            let path = settings.models.path.display();
            io::Error::new(error.kind(), format!("the model repository {path} can't be read: {error}"))
        })?;
        for ignored in &scan.ignored {
            tracing::warn!("passed over {ignored}");
        }
        if scan.entries.is_empty() {
            tracing::warn!("the model repository {} has no model", settings.models.path.display());
        }

        let catalog = Catalog::default();
        let lifecycle = Lifecycle::new();
        let pools = Pools::default();
        let server = Server::start(HttpParts {
            callers,
            operator,
            tls,
            server: settings.server.clone(),
            limits: settings.limits.clone(),
            require_all: settings.models.require_all,
            catalog: catalog.clone(),
            verifier,
            lifecycle: lifecycle.clone(),
            render_metrics: Arc::new({
                let pools = pools.clone();
                move || {
                    pools.publish();
                    metrics::render()
                }
            }),
        })?;

        let workers = worker_count(&settings);
        let context = Arc::new(LoadContext {
            executable,
            environment,
            workers,
            upkeep: Upkeep::from(&settings.workers),
            slots: ScoringSlots::new(workers),
            settings,
        });
        for entry in &scan.entries {
            catalog.set(&entry.model, entry.version, State::Loading);
        }
        lifecycle.advance(Phase::Serving);
        let (mut background, loaded) = load_all(scan.entries, &context, &catalog, &pools);
        background.spawn(keep_up_metrics());
        Ok(Self { server, catalog, lifecycle, pools, loaded, background })
    }

    /// Address of the callers' listener.
    pub fn callers_address(&self) -> SocketAddr {
        self.server.callers_address()
    }

    /// Address of the operator's listener.
    pub fn operator_address(&self) -> SocketAddr {
        self.server.operator_address()
    }

    /// What is being served.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Resolves once every model was loaded or refused.
    pub fn loaded(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut loaded = self.loaded.clone();
        async move {
            // The sender is gone only when the application is.
            let _ = loaded.wait_for(|loaded| *loaded).await;
        }
    }

    /// Serves until `stop` resolves, answers what is in flight, ends all workers.
    ///
    /// # Errors
    /// A listener ended by itself.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<Drained> {
        let Self { server, lifecycle, pools, mut background, .. } = self;
        let stop = async {
            stop.await;
            tracing::info!("stopping: no new requests, those in flight are answered");
        };
        let drained = server.run(stop).await;
        lifecycle.advance(Phase::Stopped);
        // A model that is still being loaded takes its processes with it.
        background.shutdown().await;
        pools.stop().await;
        drained
    }
}

/// Workers per version and scoring slots over all: one per core unless told otherwise.
pub fn worker_count(settings: &Settings) -> usize {
    match settings.workers.count {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        count => count,
    }
}

fn load_all(
    entries: Vec<Entry>,
    context: &Arc<LoadContext>,
    catalog: &Catalog,
    pools: &Pools,
) -> (JoinSet<()>, watch::Receiver<bool>) {
    // Reading a model keeps a core busy: more at once would only make each late.
    let at_once = context.workers.max(2);
    let (context, catalog, pools) = (context.clone(), catalog.clone(), pools.clone());
    let (done, loaded) = watch::channel(false);
    let mut all = JoinSet::new();
    all.spawn(async move {
        stream::iter(entries)
            .for_each_concurrent(at_once, |entry| load_one(entry, context.clone(), catalog.clone(), pools.clone()))
            .await;
        done.send_replace(true);
    });
    (all, loaded)
}

async fn keep_up_metrics() {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics::upkeep();
    }
}

async fn load_one(entry: Entry, context: Arc<LoadContext>, catalog: Catalog, pools: Pools) {
    let Entry { model, version, directory } = entry;
    let started = Instant::now();
    match load(&model, version, directory, &context).await {
        Ok(loaded) => {
            let took = started.elapsed();
            metrics::model_loaded((&model, version), &loaded.info.digest, took);
            tracing::info!(
                model.name = %model,
                model.version = version,
                model.digest = %loaded.info.digest,
                "model loaded in {} ms: class {}, R {}",
                took.as_millis(),
                loaded.info.class.join("/"),
                loaded.r_version
            );
            for warning in &loaded.warnings {
                tracing::warn!(model.name = %model, model.version = version, "model loaded with a warning: {warning}");
            }
            if let RowIndependence::NotProved { reason } = &loaded.info.row_independence {
                tracing::warn!(
                    model.name = %model,
                    model.version = version,
                    "requests are scored one by one: {reason}"
                );
            }
            pools.add(&model, version, loaded.pool, loaded.scorer.clone());
            catalog.set(&model, version, State::Ready { info: Arc::new(loaded.info), scorer: loaded.scorer });
        }
        Err(error) => {
            tracing::error!(model.name = %model, model.version = version, "model could not be loaded: {error}");
            catalog.set(&model, version, State::Failed { reason: error.to_string() });
        }
    }
}

impl Pools {
    fn add(&self, model: &str, version: u32, pool: Arc<WorkerPool>, scorer: Scorer) {
        let proportional = Arc::default();
        self.lock().push(PoolEntry { model: Arc::from(model), version, pool, scorer, proportional });
    }

    /// Sets the gauges that describe the moment.
    fn publish(&self) {
        for PoolEntry { model, version, pool, scorer, proportional } in self.list() {
            scorer.publish_metrics();
            let (size, busy) = (pool.size(), pool.busy());
            let key = (&*model, version);
            metrics::workers(key, WorkerState::Busy, busy);
            metrics::workers(key, WorkerState::Idle, size.saturating_sub(busy));
            let processes = pool.process_ids();
            metrics::worker_rss(key, processes.iter().copied().map(memory::resident_bytes).sum());
            metrics::worker_pss(key, proportional.bytes(processes));
        }
    }

    async fn stop(&self) {
        for entry in self.list() {
            entry.pool.stop().await;
        }
    }

    fn list(&self) -> Vec<PoolEntry> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PoolEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
