//! `rscore serve`: the server.

mod descriptors;
mod development;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{ServerArguments, SettingsArguments};
use super::{BAD_CONFIGURATION, output};
use crate::app::{Application, Credentials, Parts, open_mirror};
use crate::config::{ProviderVariables, Settings, reference, worker_environment};
use crate::lifecycle::{Background, Drained};
use crate::model::remote::{FetchError, Mirror};
use crate::pool::orphans;
use crate::store::StoreErrorKind;
use crate::telemetry::traces::Traces;
use crate::tls::development::DevelopmentFiles;

/// Serve models over HTTPS
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  \
        rscore serve --models models --dev\n  \
        rscore serve --config rscore.toml\n  \
        rscore serve --models models --tls-certificate server.pem --tls-key server-key.pem --auth-key tokens.pem",
    after_long_help = format!(
        "Examples:\n  \
        rscore serve --models models --dev\n  \
        rscore serve --config rscore.toml\n  \
        rscore serve --models models --tls-certificate server.pem --tls-key server-key.pem --auth-key tokens.pem\n\n{}",
        reference::as_help()
    )
)]
pub struct ServeArguments {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Settings that are flags.
    #[command(flatten)]
    pub server: ServerArguments,
    /// Try it out: listen on loopback only, with a throw-away certificate and signing key [environment: RSCORE_DEV]
    #[arg(long)]
    pub dev: bool,
}

/// Serves until it is told to stop.
pub fn run(arguments: &ServeArguments, mut settings: Settings) -> ExitCode {
    let development = match arguments.dev.then(|| development::prepare(&mut settings)).transpose() {
        Ok(files) => files,
        Err(error) => return output::fail(&error),
    };
    let mirror = match open_mirror(&settings, &ProviderVariables::from_process()) {
        Ok(mirror) => mirror,
        Err(error) => {
            output::complain(&format!("models.path: {error}"));
            let is_wrong = matches!(&error, FetchError::Store(error) if error.kind() == StoreErrorKind::Invalid);
            return if is_wrong { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::FAILURE };
        }
    };
    let traces = match Traces::start(&settings.traces) {
        Ok(traces) => traces,
        Err(problem) => {
            output::complain(&problem);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    // All that is wrong with either is said at once.
    match Credentials::read(&settings) {
        Ok(credentials) => {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return output::fail(&format!("the runtime can't be started: {error}")),
            };
            let served = runtime.block_on(serve(settings, credentials, mirror, development, traces.clone()));
            // All requests have ended, and the runtime is there for nobody any more.
            if let Some(traces) = traces {
                traces.stop();
            }
            match served {
                Ok(true) => ExitCode::SUCCESS,
                // The log has said how many were lost.
                Ok(false) => ExitCode::FAILURE,
                Err(error) => output::fail(&error),
            }
        }
        Err(problems) => {
            output::complain(&format!("the keys or certificates can't be used:\n{problems}"));
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Requests and answers are handled by the threads of the listeners. What is left is
/// to form batches and to talk to workers, a tenth of the work: more threads than
/// half the cores would only wake each other.
fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread().worker_threads(cores.div_ceil(2)).enable_all().build()
}

/// Whether every accepted request was answered.
async fn serve(
    mut settings: Settings,
    credentials: Credentials,
    mirror: Option<Mirror>,
    development: Option<DevelopmentFiles>,
    traces: Option<Traces>,
) -> io::Result<bool> {
    // Before the listeners open, so that a signal in between is not lost.
    let stop = Stop::listen(settings.server.shutdown_delay)?;
    let mut hangup = signal(SignalKind::hangup())?;
    let background = Background::new();
    background.spawn("adopter of orphans", orphans::adopt()?);
    if settings.server.insecure_http {
        tracing::warn!(
            "server.insecure_http is on: callers and their tokens are not protected by TLS; \
             use it only behind a mesh or proxy that is"
        );
    }
    settings.server.max_connections = descriptors::make_room(settings.server.max_connections);
    let callers = bind("server.listen", settings.server.listen)?;
    let operator = bind("server.admin_listen", settings.server.admin_listen)?;
    let application = Application::start(Parts {
        callers,
        operator,
        credentials,
        executable: std::env::current_exe()?,
        environment: worker_environment(&settings.workers),
        mirror,
        background: background.clone(),
        traces,
        settings: settings.clone(),
    })?;
    let (callers, operator) = (application.callers_address(), application.operator_address());
    tracing::info!("listening on {callers} for callers and on {operator} for the operator");

    let reread = application.reread();
    background.spawn("listener for SIGHUP", async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: the model repository, certificate and keys are looked at again");
            reread();
        }
    });
    let loaded = application.loaded();
    let catalog = application.catalog().clone();
    tokio::spawn(async move {
        loaded.await;
        tracing::info!("all models were looked at; GET /readyz on {operator} says whether all can be scored");
        if let Some(files) = development {
            output::print(&development::welcome(&settings, &files, &catalog, callers, operator));
        }
    });
    match application.run(stop.asked()).await? {
        Drained::Clean => {
            tracing::info!("stopped; every accepted request was answered");
            Ok(true)
        }
        Drained::TimedOut { in_flight } => {
            tracing::error!("stopped at server.drain_timeout with {in_flight} requests unanswered");
            Ok(false)
        }
    }
}

fn bind(key: &str, address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .map_err(|error| io::Error::new(error.kind(), format!("{key}: {address} can't be listened on: {error}")))
}

/// The signals that end the server.
struct Stop {
    delay: Duration,
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen(delay: Duration) -> io::Result<Self> {
        Ok(Self { delay, terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves at the first SIGTERM or SIGINT, with the time for which requests are
    /// still taken: load balancers send the first, people at a terminal the second. A
    /// second one ends the process at once; workers end with their sockets.
    async fn asked(mut self) -> Duration {
        let delay = self.next().await;
        tokio::spawn(async move {
            self.next().await;
            output::complain(&"stopped at once by a second signal");
            exit_at_once();
        });
        delay
    }

    async fn next(&mut self) -> Duration {
        tokio::select! {
            _ = self.terminate.recv() => self.delay,
            _ = self.interrupt.recv() => Duration::ZERO,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a second signal asks for just this")]
fn exit_at_once() -> ! {
    std::process::exit(1)
}
