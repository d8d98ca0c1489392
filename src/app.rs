//! Composition root: takes settings and bound listeners, builds every part and
//! connects them, and stops them in order. Callers bring the listeners and say
//! when to stop, so that tests drive the same code as the command line.

mod credentials;
mod generations;
mod reload;
mod remote;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use self::credentials::Credentials;
use self::generations::Generations;
use self::reload::{Reloader, ReloaderParts};
pub use self::remote::open_mirror;
use self::remote::{Remote, fill_and_follow};
use crate::config::Settings;
use crate::http::{HttpParts, Server};
use crate::lifecycle::{Background, Drained, Lifecycle, Phase};
use crate::model::remote::Mirror;
use crate::model::watch::look;
use crate::pool::{Sizing, Upkeep};
use crate::scoring::catalog::Catalog;
use crate::scoring::load::LoadContext;
use crate::scoring::reload::Reloads;
use crate::scoring::slots::ScoringSlots;
use crate::telemetry::metrics;
use crate::telemetry::traces::Traces;

/// What an application is made of.
pub struct Parts {
    /// Settings that passed validation.
    pub settings: Settings,
    /// The callers' listener.
    pub callers: TcpListener,
    /// The operator's listener.
    pub operator: TcpListener,
    /// Certificate and token keys.
    pub credentials: Credentials,
    /// The rscore binary, for the worker processes.
    pub executable: PathBuf,
    /// Environment of the worker processes.
    pub environment: Vec<(String, String)>,
    /// The repository's local mirror, when it lies in blob storage.
    pub mirror: Option<Mirror>,
    /// Ends the application when a task that it can't do without panics.
    pub background: Background,
    /// Has requests traced, if they are to be.
    pub traces: Option<Traces>,
}

/// A server whose listeners are open.
pub struct Application {
    server: Server,
    catalog: Catalog,
    lifecycle: Lifecycle,
    generations: Generations,
    reloads: Reloads,
    read_credentials: Arc<Notify>,
    ask_store: Arc<Notify>,
    loaded: watch::Receiver<bool>,
    background: Background,
    tasks: JoinSet<()>,
}

/// How often the recorder is told to fold observations away; they would pile up
/// where nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

impl Application {
    /// Opens the listeners and begins to load all models in parallel. Each
    /// can be scored as soon as it is loaded.
    ///
    /// # Errors
    /// The repository can't be read, or a listener can't be served.
    pub fn start(parts: Parts) -> io::Result<Self> {
        let Parts { mut settings, callers, operator, credentials, executable, environment, mirror, background, traces } =
            parts;
        metrics::install();
        credentials.publish_expiry();
        if let Some(mirror) = &mirror {
            settings.models.path = mirror.folder().to_owned();
        }
        let found = look(&settings.models.path).map_err(|error| {
            let path = settings.models.path.display();
            io::Error::new(error.kind(), format!("the model repository {path} can't be read: {error}"))
        })?;
        if mirror.is_none() && found.versions.is_empty() && found.unknown.is_empty() {
            tracing::warn!("the model repository {} has no model", settings.models.path.display());
        }

        let catalog = Catalog::default();
        let lifecycle = Lifecycle::new();
        let generations = Generations::new(background.clone());
        let (reloads, inbox) = Reloads::channel();
        let tls = credentials.certificate.as_ref().map(|certificate| certificate.server_config()).transpose();
        let server = Server::start(HttpParts {
            callers,
            operator,
            tls: tls.map_err(io::Error::other)?,
            server: settings.server.clone(),
            limits: settings.limits.clone(),
            require_all: settings.models.require_all,
            catalog: catalog.clone(),
            verifier: Arc::clone(&credentials.verifier),
            lifecycle: lifecycle.clone(),
            reloads: reloads.clone(),
            repository: mirror.as_ref().map(Mirror::status),
            render_metrics: Arc::new({
                let (generations, catalog) = (generations.clone(), catalog.clone());
                move || {
                    generations.publish();
                    catalog.publish_metrics();
                    metrics::render()
                }
            }),
            traces,
        })?;

        let sizing = Sizing::of_this_process(&settings.workers, found.versions.len());
        let workers = sizing.workers;
        let context = Arc::new(LoadContext {
            executable,
            environment,
            workers,
            upkeep: Upkeep { sizing, ..Upkeep::from(&settings.workers) },
            slots: ScoringSlots::new(workers),
            settings: settings.clone(),
            background: background.clone(),
        });
        let (first_loaded, loaded) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let parts = ReloaderParts {
            context,
            catalog: catalog.clone(),
            generations: generations.clone(),
            inbox,
            loaded: first_loaded,
        };
        let ask_store = Arc::new(Notify::new());
        let remote =
            mirror.map(|mirror| Remote::new(mirror, &settings.models, reloads.clone(), Arc::clone(&ask_store)));
        match remote {
            // Not even what to be ready for is known.
            Some(remote) if !remote.has_versions() => {
                let follow = fill_and_follow(remote, parts, lifecycle.clone());
                tasks.spawn(background.guard("reloader of models", follow));
            }
            remote => {
                tasks.spawn(background.guard("reloader of models", Reloader::new(parts, &found).run()));
                lifecycle.advance(Phase::Serving);
                if let Some(remote) = remote {
                    tasks.spawn(background.guard("follower of the store", remote.follow()));
                }
            }
        }
        let read_credentials = Arc::new(Notify::new());
        let watch = credentials.watch(settings.server.credentials_interval, Arc::clone(&read_credentials));
        tasks.spawn(background.guard("reader of certificate and keys", watch));
        tasks.spawn(background.guard("upkeep of metrics", keep_up_metrics()));
        Ok(Self {
            server,
            catalog,
            lifecycle,
            generations,
            reloads,
            read_credentials,
            ask_store,
            loaded,
            background,
            tasks,
        })
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

    /// Has models loaded again; also for whoever puts versions into the repository.
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Has repository, store, certificate and keys looked at again, as SIGHUP does.
    pub fn reread(&self) -> impl Fn() + Send + use<> {
        let (reloads, ask_store) = (self.reloads.clone(), Arc::clone(&self.ask_store));
        let read_credentials = Arc::clone(&self.read_credentials);
        move || {
            reloads.reread();
            ask_store.notify_one();
            read_credentials.notify_one();
        }
    }

    /// Resolves once every model was loaded or refused.
    pub fn loaded(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut loaded = self.loaded.clone();
        async move {
            // The sender is gone only when the application is.
            let _ = loaded.wait_for(|loaded| *loaded).await;
        }
    }

    /// Serves until `stop` resolves, and for the time that it says after that while
    /// not being ready; then answers what is in flight and ends all workers.
    ///
    /// # Errors
    /// A listener ended by itself, or a task that the server can't do without
    /// panicked: what is in flight is then answered as well as it still can be.
    pub async fn run(self, stop: impl Future<Output = Duration>) -> io::Result<Drained> {
        let Self { server, lifecycle, generations, background, mut tasks, .. } = self;
        let mut failed = None;
        let stop = async {
            let grace = tokio::select! {
                grace = stop => grace,
                name = background.failed() => {
                    failed = Some(name);
                    Duration::ZERO
                }
            };
            tracing::info!("stopping: requests in flight are answered, new ones for {} s more", grace.as_secs_f64());
            grace
        };
        let drained = server.run(stop).await;
        lifecycle.advance(Phase::Stopped);
        // A model that is still being loaded takes its processes with it.
        tasks.shutdown().await;
        generations.stop().await;
        match failed {
            Some(name) => Err(io::Error::other(format!("stopped because the {name} panicked; the log has the panic"))),
            None => drained,
        }
    }
}

async fn keep_up_metrics() {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics::upkeep();
    }
}

#[cfg(test)]
mod tests;
