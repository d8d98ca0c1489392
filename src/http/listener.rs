//! The callers' listener: what a connection passes before there are requests on
//! it. It is counted, speaks TLS within a time limit, and is watched from then
//! on (`http/watched.rs`), since actix-web itself bounds neither a caller that
//! does not read its answer nor the head of any request but the first.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::web::Data;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::connections::{Connections, Times};
use super::goaway::WithGoaway;
use super::state::State;
use super::watched::Watched;
use super::{BLOCKING_THREADS, CLOSE_SECONDS, LINGER, routes};
use crate::config::settings::ServerSettings;
use crate::lifecycle::{Lifecycle, Phase};
use crate::telemetry::metrics;

/// Connections that the kernel keeps until they are accepted; it may allow less
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// What a caller is told that speaks plain HTTP to the TLS port.
const PLAIN_HTTP: &str = r#"{"type":"urn:rscore:problem:malformed","title":"The request is malformed","status":400,"detail":"plain HTTP came to a port that speaks HTTPS; use https:// in the address"}"#;

/// Starts the threads that serve callers.
pub(super) fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    settings: &ServerSettings,
    state: Data<State>,
    connections: Connections,
) -> io::Result<Server> {
    // A crowd that comes at once must not wait for another attempt of its own kernels.
    rustix::net::listen(&listener, BACKLOG)?;
    let threads = match settings.threads {
        0 => available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    };
    let builder = Server::build()
        .disable_signals()
        .workers(threads)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // The limit is per thread.
        .max_concurrent_connections(settings.max_connections.div_ceil(threads).max(1))
        .shutdown_timeout(CLOSE_SECONDS);
    let entrance = Entrance {
        tls: tls.map(TlsAcceptor::from),
        keep_alive: settings.keep_alive,
        times: Times { head: settings.head_timeout, write: settings.write_timeout },
        connections,
        lifecycle: state.lifecycle.clone(),
    };
    Ok(listen(builder, listener, entrance, state)?.run())
}

/// How connections come in.
#[derive(Clone)]
struct Entrance {
    tls: Option<TlsAcceptor>,
    keep_alive: Duration,
    times: Times,
    connections: Connections,
    lifecycle: Lifecycle,
}

type Transport = Watched<Either<TcpStream, WithGoaway<tokio_rustls::server::TlsStream<TcpStream>>>>;

fn listen(
    builder: ServerBuilder,
    listener: TcpListener,
    entrance: Entrance,
    state: Data<State>,
) -> io::Result<ServerBuilder> {
    let stopping = builder.graceful_shutdown_signal();
    builder.listen("callers", listener, move || {
        let stopping = stopping.clone();
        let app = App::new().app_data(state.clone()).configure(routes::configure);
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(entrance.keep_alive)
            .client_request_timeout(entrance.times.head)
            .client_disconnect_timeout(LINGER)
            // A caller that closed its side is gone: its request is dropped, and
            // with it its place in the queue.
            .h1_allow_half_closed(false)
            .on_connect_ext(|transport: &Transport, data| {
                data.insert(transport.connection());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let entrance = entrance.clone();
        fn_service(move |stream: TcpStream| enter(entrance.clone(), stream)).and_then(http)
    })
}

/// A connection that was just accepted, up to where HTTP is spoken.
async fn enter(
    entrance: Entrance,
    stream: TcpStream,
) -> Result<(Transport, Protocol, Option<SocketAddr>), DispatchError> {
    let open = entrance.connections.open();
    // Small answers must not wait for the acknowledgement of earlier ones.
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().ok();
    let Some(tls) = &entrance.tls else {
        let connection = open.speaks(Protocol::Http1, entrance.times);
        return Ok((Watched::new(Either::Left(stream), connection), Protocol::Http1, peer));
    };
    let Ok(handshake) = timeout(entrance.times.head, shake_hands(tls, stream)).await else {
        metrics::connection_cut("handshake");
        return Err(io::Error::from(io::ErrorKind::TimedOut).into());
    };
    let stream = handshake?;
    let (protocol, stream) = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => (Protocol::Http2, WithGoaway::when(leaving(&entrance.lifecycle), stream)),
        _ => (Protocol::Http1, WithGoaway::never(stream)),
    };
    Ok((Watched::new(Either::Right(stream), open.speaks(protocol, entrance.times)), protocol, peer))
}

/// Resolves when callers are to go elsewhere.
fn leaving(lifecycle: &Lifecycle) -> impl Future<Output = ()> + use<> {
    let mut phases = lifecycle.subscribe();
    async move {
        // Without a lifecycle the server is gone, and the connection with it.
        let _ = phases.wait_for(|phase| *phase >= Phase::Leaving).await;
    }
}

async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0; 1];
    stream.peek(&mut first).await?;
    // Methods are letters; a handshake begins with 22.
    if first[0].is_ascii_uppercase() {
        metrics::connection_cut("plain_http");
        return Err(refuse_plain_http(stream).await);
    }
    tls.accept(stream).await
}

/// Says what is wrong. Reads what is there first: closing would otherwise be a
/// reset, and callers report that instead of the answer.
async fn refuse_plain_http(mut stream: TcpStream) -> io::Error {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{PLAIN_HTTP}",
        PLAIN_HTTP.len()
    );
    let mut head = [0; 16 * 1024];
    let said = async {
        let _ = stream.read(&mut head).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    said.await.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into())
}
