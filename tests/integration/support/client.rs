//! HTTP/1.1 as it is on the wire. A client library would hide what some tests
//! are about: when a body is sent, and what is read before it was sent whole.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A plain or a TLS connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A request to send.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A JSON body for `path`.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).header("Content-Type", "application/json").body(body)
    }

    /// A JSON body to be scored by the default version of `model`.
    pub fn predict(model: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::post(&format!("/models/{model}/predict"), body)
    }

    /// Sets a header, instead of what it was.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header if the request has none of that name.
    pub fn default_header(self, name: &str, value: impl FnOnce() -> String) -> Self {
        match self.headers.iter().any(|(present, _)| present.eq_ignore_ascii_case(name)) {
            true => self,
            false => self.header(name, &value()),
        }
    }

    /// Leaves a header out that is otherwise added or was set: an empty value
    /// is not sent.
    pub fn without(self, name: &str) -> Self {
        self.header(name, "")
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// The bytes before the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.path);
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }
}

/// One connection.
pub struct Connection {
    pub stream: Box<dyn Stream>,
}

impl Connection {
    /// Sends a request and reads its answer.
    pub async fn send(&mut self, request: &Request) -> Reply {
        self.write(&request.head()).await;
        self.write(&request.body).await;
        read_reply(&mut self.stream, &request.method).await
    }

    /// [`Connection::send`] to a server that may hang up: the answer, if it is whole.
    pub async fn try_send(&mut self, request: &Request) -> Option<Reply> {
        self.stream.write_all(&[request.head(), request.body.clone()].concat()).await.ok()?;
        self.stream.flush().await.ok()?;
        try_read_reply(&mut self.stream, &request.method).await.ok()
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server takes the request");
        self.stream.flush().await.expect("the server takes the request");
    }
}

/// Reads the head of an answer.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Reply {
    try_read_head(stream).await.expect("the head of an answer")
}

async fn try_read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Reply { status: status.expect("a status"), headers, body: Vec::new() })
}

/// Reads one answer.
pub async fn read_reply(stream: &mut (impl AsyncRead + Unpin), method: &str) -> Reply {
    try_read_reply(stream, method).await.expect("a whole answer")
}

async fn try_read_reply(stream: &mut (impl AsyncRead + Unpin), method: &str) -> io::Result<Reply> {
    let mut reply = try_read_head(stream).await?;
    if method != "HEAD" {
        let length = reply.header("content-length").expect("an answer of known length");
        reply.body = vec![0; length.parse().expect("a length")];
        stream.read_exact(&mut reply.body).await?;
    }
    Ok(reply)
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The predictions of a good answer.
    #[track_caller]
    pub fn predictions(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        match self.json()["predictions"].take() {
            Value::Array(predictions) => predictions,
            other => panic!("predictions are {other}"),
        }
    }

    /// Asserts that this is a problem of RFC 9457 with all its members.
    #[track_caller]
    pub fn is_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:rscore:problem:{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}
