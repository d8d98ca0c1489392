//! One way to start a server on free ports, mint tokens, and speak HTTP/1.1.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::{Float64Array, RecordBatch};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::auth::Verifier;
use crate::config::settings::{AuthSettings, Settings};
use crate::error::Result;
use crate::frame::schema::{Column, ColumnType, InputSchemas, Schema};
use crate::http::{HttpParts, Server};
use crate::lifecycle::{Drained, Lifecycle, Phase};
use crate::scoring::catalog::{Catalog, ModelInfo, State};
use crate::scoring::independence::RowIndependence;
use crate::scoring::reload::{Asked, Command, Outcome, Reloads};
use crate::scoring::{Score, ScoreRequest, Scored, StageTimes};

const SECRET: &[u8] = b"a secret of the tests, long enough for HS256";
pub(super) const EVERYTHING: &str = "score:* models:read";

type Scoring = Pin<Box<dyn Future<Output = Result<Scored>> + Send>>;

/// An engine that does what a test says.
pub(super) struct Scripted {
    script: Box<dyn Fn(ScoreRequest) -> Scoring + Send + Sync>,
    pub(super) ready: AtomicUsize,
    /// Whether its rows are independent of each other.
    pub(super) joins: AtomicBool,
}

impl Scripted {
    pub(super) fn new<F>(script: impl Fn(ScoreRequest) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Scored>> + Send + 'static,
    {
        Arc::new(Self {
            script: Box::new(move |request| Box::pin(script(request))),
            ready: AtomicUsize::new(1),
            joins: AtomicBool::new(false),
        })
    }

    /// The same with rows that are independent of each other.
    pub(super) fn joining(self: Arc<Self>) -> Arc<Self> {
        self.joins.store(true, Ordering::Relaxed);
        self
    }

    /// Gives each row twice its `x`.
    pub(super) fn doubling() -> Arc<Self> {
        Self::new(|request| async move { Ok(doubled(&request)) })
    }
}

impl Score for Scripted {
    fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
        (self.script)(request)
    }

    fn ready_workers(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    fn joins_requests(&self) -> bool {
        self.joins.load(Ordering::Relaxed)
    }
}

/// Predictions of twice the column `x`.
pub(super) fn doubled(request: &ScoreRequest) -> Scored {
    let batch = request.inputs.as_single().expect("one input");
    let x = batch.column_by_name("x").expect("x").as_any().downcast_ref::<Float64Array>().expect("doubles").clone();
    scored(x.iter().map(|value| value.map(|value| value * 2.0)).collect())
}

/// Predictions of one unnamed column.
pub(super) fn scored(values: Float64Array) -> Scored {
    let batch = RecordBatch::try_from_iter_with_nullable([("prediction", Arc::new(values) as _, true)]);
    Scored {
        batch: batch.expect("a batch"),
        unnamed: true,
        warnings: Vec::new(),
        times: StageTimes { queue: Duration::from_millis(1), convert: Duration::ZERO, score: Duration::from_millis(2) },
        call: None,
    }
}

pub(super) fn info() -> ModelInfo {
    let schema = Schema {
        columns: vec![Column { nullable: false, ..Column::new("x", ColumnType::Double) }],
        ..Schema::default()
    };
    ModelInfo {
        description: Some("doubles x".into()),
        class: vec!["lm".into()],
        packages: vec![("stats".into(), "4.2.2".into())],
        digest: "ab".repeat(32),
        schemas: InputSchemas::single(schema),
        timeout: Duration::from_secs(20),
        row_independence: RowIndependence::Denied,
        sample: Some(serde_json::value::RawValue::from_string("[{\"x\": 1.50}]".into()).expect("JSON").into()),
    }
}

/// A server that is to be started.
pub(super) struct Setup {
    pub(super) settings: Settings,
    pub(super) catalog: Catalog,
    pub(super) phase: Phase,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    /// How long requests are taken after a stop was asked for.
    pub(super) grace: Duration,
}

impl Setup {
    /// Model `double`, version 1, which doubles `x`.
    pub(super) fn new() -> Self {
        let mut settings = Settings::default();
        settings.server.threads = 1;
        let setup =
            Self { settings, catalog: Catalog::default(), phase: Phase::Serving, tls: None, grace: Duration::ZERO };
        setup.model("double", 1, Scripted::doubling())
    }

    pub(super) fn model(self, name: &str, version: u32, scorer: Arc<Scripted>) -> Self {
        self.model_with(name, version, scorer, info())
    }

    pub(super) fn model_with(self, name: &str, version: u32, scorer: Arc<Scripted>, info: ModelInfo) -> Self {
        self.catalog.set(name, version, State::Ready { info: Arc::new(info), scorer });
        self
    }

    pub(super) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(super) async fn start(self) -> TestServer {
        let secret = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(secret.path(), SECRET).expect("written");
        let auth = AuthSettings { hs256_secret_file: Some(secret.path().to_owned()), ..AuthSettings::default() };
        let verifier = Verifier::from_settings(&auth).unwrap_or_else(|error| panic!("a verifier: {error}"));
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let lifecycle = Lifecycle::new();
        lifecycle.advance(self.phase);
        let server = Server::start(HttpParts {
            repository: None,
            callers: bind(),
            operator: bind(),
            tls: self.tls,
            server: self.settings.server,
            limits: self.settings.limits,
            require_all: self.settings.models.require_all,
            catalog: self.catalog.clone(),
            verifier: Arc::new(verifier),
            lifecycle: lifecycle.clone(),
            reloads: reloads(),
            render_metrics: Arc::new(|| "rscore_up 1\n".to_owned()),
            traces: None,
        })
        .expect("a server");
        let (callers, operator) = (server.callers_address(), server.operator_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move {
            let _ = stopped.await;
            self.grace
        }));
        TestServer { callers, operator, catalog: self.catalog, lifecycle, stop: Some(stop), running }
    }
}

/// Somebody who loads generation 2 of version 1 of `double`, and nothing else.
fn reloads() -> Reloads {
    let (reloads, mut inbox) = Reloads::channel();
    tokio::spawn(async move {
        while let Some(command) = inbox.recv().await {
            let Command::Reload { model, answer, .. } = command else { continue };
            let (sender, outcome) = oneshot::channel();
            let _ = sender.send(match model.as_str() {
                "double" => Outcome::Loaded { generation: 2, digest: "cd".repeat(32) },
                _ => Outcome::Failed { reason: "model.rds is not an RDS file".into() },
            });
            let _ = answer.send(Ok(vec![Asked { version: 1, outcome }]));
        }
    });
    reloads
}

/// A server that runs.
pub(super) struct TestServer {
    pub(super) callers: SocketAddr,
    pub(super) operator: SocketAddr,
    pub(super) catalog: Catalog,
    pub(super) lifecycle: Lifecycle,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<std::io::Result<Drained>>,
}

impl TestServer {
    pub(super) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.callers).await.expect("a connection") }
    }

    /// One request of a caller on its own connection.
    pub(super) async fn send(&self, request: Request) -> Reply {
        self.connect().await.send(request).await
    }

    /// `GET` on the operator's listener.
    pub(super) async fn operator(&self, path: &str) -> Reply {
        let stream = TcpStream::connect(self.operator).await.expect("a connection");
        Client { stream }.send(Request::new("GET", path)).await
    }

    /// Asks for a stop, as a signal would.
    pub(super) fn begin_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("the server runs");
    }

    /// Waits for the end of a stop.
    pub(super) async fn stopped(self) -> Drained {
        self.running.await.expect("no panic").expect("no error")
    }
}

/// Waits for a signal of the script; a test whose subject broke must fail, not hang.
pub(super) async fn signalled(signal: &Semaphore) {
    let permit = tokio::time::timeout(Duration::from_secs(20), signal.acquire()).await;
    permit.expect("the signal came in time").expect("open").forget();
}

/// A token with these scopes.
pub(super) fn token(scope: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({"sub": "tester", "scope": scope, "exp": now + 600});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).expect("a token")
}

/// A request to send.
#[derive(Clone)]
pub(super) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET` with a token for everything.
    pub(super) fn get(path: &str) -> Self {
        Self::new("GET", path).scope(EVERYTHING)
    }

    /// A JSON body for `POST`, with a token for everything.
    pub(super) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).scope(EVERYTHING).header("Content-Type", "application/json").body(body)
    }

    pub(super) fn scope(self, scope: &str) -> Self {
        let value = format!("Bearer {}", token(scope));
        self.header("Authorization", &value)
    }

    /// Sets a header, instead of what it was.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(present, _)| present != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Length", "")
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let length = self.body.len().to_string();
            let value = if name == "Content-Length" && value.is_empty() { &length } else { value };
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }
}

/// One HTTP/1.1 connection.
pub(super) struct Client<S = TcpStream> {
    pub(super) stream: S,
}

impl<S: AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, request: Request) -> Reply {
        self.write(&request.head()).await;
        self.write(&request.body).await;
        self.reply_to(&request.method).await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    pub(super) async fn reply(&mut self) -> Reply {
        self.reply_to("POST").await
    }

    /// The next chunk of a body that is sent in chunks; `None` after the last one,
    /// and an error when the body ends before it.
    pub(super) async fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await?);
        }
        let length = std::str::from_utf8(&line).expect("ASCII").trim_end();
        let mut bytes = vec![0; usize::from_str_radix(length, 16).expect("a length in hexadecimal") + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(bytes.len() - 2);
        Ok(if bytes.is_empty() { None } else { Some(bytes) })
    }

    async fn reply_to(&mut self, method: &str) -> Reply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("the head of an answer"));
        }
        let head = String::from_utf8(head).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply { status: status.expect("a status"), headers, body: Vec::new() };
        if method != "HEAD" {
            reply.body = vec![0; reply.header("content-length").map_or(0, |n| n.parse().expect("a length"))];
            self.stream.read_exact(&mut reply.body).await.expect("the body of an answer");
        }
        reply
    }

    /// Waits until the server has closed the connection.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close too.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "unasked: {}", String::from_utf8_lossy(&rest));
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that this is a problem of RFC 9457 with all its members.
    #[track_caller]
    pub(super) fn is_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:rscore:problem:{slug}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}
