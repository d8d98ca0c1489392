//! A server's two listeners, as a caller and an operator see them.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Connection, Reply, Request};
use super::metrics::Metrics;
use super::within_deadline;

/// Scopes of the token that requests carry unless they say otherwise.
pub const EVERYTHING: &str = "score:* models:read models:write";

/// Where a server listens, how to trust it, and a token that it accepts.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub callers: SocketAddr,
    pub operator: SocketAddr,
    /// Plain HTTP without.
    pub tls: Option<Arc<ClientConfig>>,
    pub token: String,
}

impl Endpoint {
    /// A caller's connection.
    pub async fn connect(&self) -> Connection {
        within_deadline("a connection", async {
            let stream = TcpStream::connect(self.callers).await.expect("a connection");
            stream.set_nodelay(true).expect("an option that every system has");
            self.secure(stream).await
        })
        .await
    }

    /// A connection that was just opened, with TLS where the server has it.
    pub async fn secure(&self, stream: TcpStream) -> Connection {
        let Some(tls) = &self.tls else { return Connection { stream: Box::new(stream) } };
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        let stream = within_deadline("a handshake", stream).await.expect("a handshake");
        Connection { stream: Box::new(stream) }
    }

    /// A caller's connection, if the server takes it.
    pub async fn try_connect(&self) -> Option<Connection> {
        let stream = TcpStream::connect(self.callers).await.ok()?;
        let Some(tls) = &self.tls else { return Some(Connection { stream: Box::new(stream) }) };
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.ok()?;
        Some(Connection { stream: Box::new(stream) })
    }

    /// The request with the token, unless it has one or does without.
    pub fn authorised(&self, request: Request) -> Request {
        request.default_header("Authorization", || format!("Bearer {}", self.token))
    }

    /// One request on a connection of its own.
    pub async fn send(&self, request: Request) -> Reply {
        let mut connection = self.connect().await;
        within_deadline("an answer", connection.send(&self.authorised(request))).await
    }

    /// [`Endpoint::send`] in a task.
    pub fn send_beside(&self, request: Request) -> tokio::task::JoinHandle<Reply> {
        let endpoint = self.clone();
        tokio::spawn(async move { endpoint.send(request).await })
    }

    /// `GET` on the operator's listener.
    pub async fn operator(&self, path: &str) -> Reply {
        within_deadline("the operator's answer", async {
            let stream = TcpStream::connect(self.operator).await.expect("a connection");
            Connection { stream: Box::new(stream) }.send(&Request::get(path)).await
        })
        .await
    }

    /// The metrics now.
    pub async fn metrics(&self) -> Metrics {
        let reply = self.operator("/metrics").await;
        assert_eq!(reply.status, 200);
        Metrics::parse(&reply.text())
    }
}
