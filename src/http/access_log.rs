//! One log line and one count per request, however it ends: answered, failed,
//! panicked, or abandoned by the caller.

use std::error::Error as StdError;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};

use super::request_id;
use crate::error::{Error, Fault, Kind};
use crate::lifecycle::InFlight;
use crate::telemetry::metrics;

/// Logged for a caller that went away before its answer; not a status that is
/// ever sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Longest part of a path that is logged, in bytes.
const LOGGED_PATH: usize = 256;

/// What is known of a request so far. Written to the log when it is dropped.
pub(crate) struct Record {
    pub(crate) request_id: Arc<str>,
    pub(crate) door: &'static str,
    pub(crate) subject: Option<Arc<str>>,
    /// Name and version, once the catalog found them.
    pub(crate) model: Option<(Arc<str>, u32)>,
    pub(crate) rows: Option<usize>,
    pub(crate) bytes_in: usize,
    pub(crate) bytes_out: usize,
    /// Whether the whole answer was taken by the connection.
    pub(crate) complete: bool,
    status: Option<u16>,
    failure: Option<LoggedFailure>,
    trace_id: Option<Box<str>>,
    method: Method,
    path: Box<str>,
    started: Instant,
    // Last: the request is in flight until its line was written.
    _in_flight: InFlight,
}

struct LoggedFailure {
    text: String,
    fault: Fault,
}

impl Record {
    /// Starts the record of a request.
    pub(crate) fn begin(request: &HttpRequest, door: &'static str, in_flight: InFlight) -> Self {
        metrics::in_flight(1.0);
        let path = request.path();
        let end = path.floor_char_boundary(LOGGED_PATH);
        Self {
            request_id: request_id::request_id(request.headers()),
            door,
            subject: None,
            model: None,
            rows: None,
            bytes_in: 0,
            bytes_out: 0,
            complete: false,
            status: None,
            failure: None,
            trace_id: request_id::trace_id(request.headers()),
            method: request.method().clone(),
            path: path[..end].into(),
            started: Instant::now(),
            _in_flight: in_flight,
        }
    }

    /// The answer's status is decided.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// The request failed; the causes that the caller does not see are kept for
    /// the log.
    pub(crate) fn failed(&mut self, error: &Error) {
        let mut text = error.detail().to_owned();
        if let Kind::ModelFailed(condition) = error.kind() {
            let call = condition.call.as_deref().unwrap_or("unknown");
            let _ = write!(text, " [{} in {call}: {}]", condition.class.join("/"), condition.message);
        }
        let mut cause = error.source();
        while let Some(source) = cause {
            let _ = write!(text, ": {source}");
            cause = source.source();
        }
        self.failure = Some(LoggedFailure { text, fault: error.fault() });
    }

    /// Whether the answer has no body by its method.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    fn message(&self) -> &'static str {
        match (&self.failure, self.complete) {
            (_, false) => "the caller went away before it had its answer",
            (None, true) => "request answered",
            (Some(LoggedFailure { fault: Fault::Client, .. }), true) => "request refused",
            (Some(_), true) => "request failed",
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        let model = self.model.as_ref().map(|(name, version)| (&**name, *version));
        metrics::in_flight(-1.0);
        metrics::request(self.door, model, status, duration);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request.id = &*self.request_id,
                    trace.id = self.trace_id.as_deref(),
                    method = self.method.as_str(),
                    path = &*self.path,
                    status,
                    duration_ms = duration.as_secs_f64() * 1e3,
                    subject = self.subject.as_deref(),
                    model.name = model.map(|(name, _)| name),
                    model.version = model.map(|(_, version)| version),
                    rows = self.rows,
                    bytes.r#in = self.bytes_in,
                    bytes.out = self.bytes_out,
                    error = self.failure.as_ref().map(|failure| failure.text.as_str()),
                    "{}",
                    self.message()
                )
            };
        }
        match self.failure.as_ref().map(|failure| failure.fault) {
            None | Some(Fault::Client) => line!(info),
            Some(Fault::Model) => line!(warn),
            Some(Fault::Server) if status == StatusCode::INTERNAL_SERVER_ERROR => line!(error),
            Some(Fault::Server) => line!(warn),
        }
    }
}
