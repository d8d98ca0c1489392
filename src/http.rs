//! The HTTP listeners: callers' doors over TLS, and the operator's probes and
//! metrics. This file builds, runs and stops them; `http/layers.rs` is what a
//! request passes, `http/routes.rs` where it can go.

mod access_log;
mod admission;
mod authenticate;
mod body;
mod coding;
mod connections;
mod doors;
mod goaway;
mod layers;
mod listener;
mod model_path;
mod models;
mod negotiate;
mod offload;
mod operator;
mod reload;
mod reply_body;
mod request_id;
mod respond;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod watched;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{App, HttpServer, dev};
use futures_util::future;
use tokio::time::timeout;

use self::admission::Admission;
use self::connections::Connections;
pub use self::state::RenderMetrics;
use self::state::{State, StreamLimits, Tracing};
use crate::auth::Verifier;
use crate::config::settings::{LimitSettings, ServerSettings};
use crate::lifecycle::{Drained, Lifecycle, Phase};
use crate::model::remote::StatusReader;
use crate::scoring::catalog::Catalog;
use crate::scoring::reload::Reloads;
use crate::telemetry::traces::{Scheme, Traces};

/// How long an answered connection may go on sending what nobody reads, so that
/// the caller gets to see why it was refused; also the time for closing one.
const LINGER: Duration = Duration::from_secs(10);

/// Seconds that open connections get at the very end of a stop. Requests were
/// waited for before; what is left is idle, mostly HTTP/2.
const CLOSE_SECONDS: u64 = 1;

/// How long a stop waits for connections that are about to close by themselves.
const LAST_MOMENT: Duration = Duration::from_millis(400);

/// How long no connection may be open after the listener took its last: by then
/// one that was on its way between threads has been counted.
const QUIET: Duration = Duration::from_millis(50);

/// Connections that probes and scrapers may keep open.
const OPERATOR_CONNECTIONS: usize = 256;

/// Threads beside each event loop, for large bodies.
const BLOCKING_THREADS: usize = 4;

/// What a server is made of.
pub struct HttpParts {
    /// The callers' listener.
    pub callers: TcpListener,
    /// The operator's listener, always plain HTTP.
    pub operator: TcpListener,
    /// Certificate and key of the callers' listener; plain HTTP without.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Connections, threads and times.
    pub server: ServerSettings,
    /// Bounds on requests.
    pub limits: LimitSettings,
    /// Whether a model that can't be loaded makes the server unready.
    pub require_all: bool,
    /// The repository's mirror, when it lies in blob storage.
    pub repository: Option<StatusReader>,
    /// What can be scored.
    pub catalog: Catalog,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// Phase, and requests in flight.
    pub lifecycle: Lifecycle,
    /// Has models loaded again.
    pub reloads: Reloads,
    /// Writes the metrics of the process.
    pub render_metrics: RenderMetrics,
    /// Has requests traced, if they are to be.
    pub traces: Option<Traces>,
}

/// Both listeners, accepting.
pub struct Server {
    callers: dev::Server,
    operator: dev::Server,
    callers_address: SocketAddr,
    operator_address: SocketAddr,
    connections: Connections,
    lifecycle: Lifecycle,
    drain_timeout: Duration,
}

impl Server {
    /// Starts the threads that serve the listeners.
    ///
    /// # Errors
    /// When a listener or a thread can't be set up.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which may be of any flavour.
    pub fn start(parts: HttpParts) -> io::Result<Self> {
        let HttpParts {
            callers,
            operator,
            tls,
            server,
            limits,
            require_all,
            catalog,
            verifier,
            lifecycle,
            reloads,
            repository,
            render_metrics,
            traces,
        } = parts;
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let callers_address = callers.local_addr()?;
        let operator_address = operator.local_addr()?;
        let connections = Connections::new();
        let state = Data::new(State {
            catalog,
            verifier,
            lifecycle: lifecycle.clone(),
            admission: Admission::new(limits.max_requests, limits.max_body_bytes),
            max_body_bytes: limits.max_body_bytes,
            max_rows: limits.max_rows,
            stream: StreamLimits {
                max_bytes: limits.max_stream_bytes,
                max_record_bytes: limits.max_record_bytes,
                rows: limits.stream_rows,
                min_rate: limits.min_stream_rate,
            },
            body_timeout: server.body_timeout,
            expose_model_errors: server.expose_model_errors,
            require_all,
            reloads,
            repository,
            render_metrics,
            tracing: traces.map(|traces| Tracing { traces, scheme }),
        });
        let drain_timeout = server.drain_timeout;
        let callers = listener::serve(callers, tls, &server, state.clone(), connections.clone())?;
        let operator = serve_operator(operator, state)?;
        Ok(Self { callers, operator, callers_address, operator_address, connections, lifecycle, drain_timeout })
    }

    /// Address of the callers' listener, with the port that the system chose.
    pub fn callers_address(&self) -> SocketAddr {
        self.callers_address
    }

    /// Address of the operator's listener, with the port that the system chose.
    pub fn operator_address(&self) -> SocketAddr {
        self.operator_address
    }

    /// Serves until `stop` resolves, goes on for the time that it says while not
    /// being ready, then refuses new requests, waits for those in flight up to the
    /// drain timeout, and closes everything. Says how the drain ended.
    ///
    /// # Errors
    /// When a listener ends by itself.
    pub async fn run(self, stop: impl Future<Output = Duration>) -> io::Result<Drained> {
        let Self { callers, operator, connections, lifecycle, drain_timeout, .. } = self;
        let (callers_handle, operator_handle) = (callers.handle(), operator.handle());
        let mut listeners = pin!(future::try_join(callers, operator));
        let drained = tokio::select! {
            ended = &mut listeners => {
                return Err(ended.err().unwrap_or_else(|| io::Error::other("the listeners ended without being asked to")));
            }
            drained = async { lifecycle.leave(stop.await, drain_timeout).await } => drained,
        };
        // First nobody else comes in. Then those that are in have a moment: each answer
        // tells its connection to close, and a request that came in between is answered.
        let last_moment = async {
            callers_handle.pause().await;
            connections.stay_closed(QUIET).await;
        };
        // The listeners must be polled to heed the pause.
        tokio::select! {
            _ = &mut listeners => {}
            _ = timeout(LAST_MOMENT.min(drain_timeout), last_moment) => {}
        }
        // Idle HTTP/1.1 connections close at once when told to. Idle HTTP/2
        // ones don't, and are cut off after CLOSE_SECONDS.
        let _sent = (callers_handle.stop(true), operator_handle.stop(false));
        tokio::select! {
            biased;
            _ = &mut listeners => {}
            () = connections.all_closed() => {}
        }
        lifecycle.advance(Phase::Stopped);
        Ok(drained)
    }
}

/// Serves metrics and liveness of a process that has no callers, such as a batch
/// run, for as long as it is polled.
///
/// # Errors
/// When the listener can't be served, or ends by itself.
pub async fn serve_metrics(listener: TcpListener, render: RenderMetrics) -> io::Result<()> {
    let app = move || App::new().app_data(Data::new(render.clone())).configure(operator::configure_metrics);
    let server = HttpServer::new(app)
        .disable_signals()
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(OPERATOR_CONNECTIONS)
        .shutdown_timeout(CLOSE_SECONDS);
    server.listen(listener)?.run().await
}

fn serve_operator(listener: TcpListener, state: Data<State>) -> io::Result<dev::Server> {
    let app = move || App::new().app_data(state.clone()).configure(operator::configure);
    let server = HttpServer::new(app)
        .disable_signals()
        .workers(1)
        .worker_max_blocking_threads(1)
        // A listener of its own: callers that take all theirs leave this one alone.
        .max_connections(OPERATOR_CONNECTIONS)
        .tcp_nodelay(true)
        .shutdown_timeout(CLOSE_SECONDS);
    Ok(server.listen(listener)?.run())
}
