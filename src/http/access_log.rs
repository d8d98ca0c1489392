//! One log line and one count per request, however it ends: answered, failed,
//! panicked, or abandoned by the caller.

use std::error::Error as StdError;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode, Version};

use super::request_id;
use super::state::Tracing;
use crate::error::{Error, Fault, Kind};
use crate::lifecycle::InFlight;
use crate::telemetry::context::RequestContext;
use crate::telemetry::metrics;
use crate::telemetry::traces::{Outcome, RequestSpan, Scheme};

/// Logged for a caller that went away before its answer; not a status that is
/// ever sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Longest part of a path that is logged, in bytes.
const LOGGED_PATH: usize = 256;

/// What is known of a request so far. Written to the log when it is dropped.
pub(crate) struct Record {
    pub(crate) context: RequestContext,
    pub(crate) door: &'static str,
    pub(crate) subject: Option<Arc<str>>,
    /// Name and version, once the catalog found them.
    pub(crate) model: Option<(Arc<str>, u32)>,
    pub(crate) rows: Option<usize>,
    pub(crate) bytes_in: usize,
    pub(crate) bytes_out: usize,
    /// Whether the whole answer was taken by the connection.
    pub(crate) complete: bool,
    /// Whether the answer was ended before its end, because of what came later.
    pub(crate) broken_off: bool,
    status: Option<u16>,
    failure: Option<LoggedFailure>,
    method: Method,
    path: Box<str>,
    started: Instant,
    /// Of a request that is traced and sampled.
    traced: Option<Box<Traced>>,
    // Last: the request is in flight until its line was written.
    _in_flight: InFlight,
}

/// What only a span says of a request.
struct Traced {
    span: RequestSpan,
    route: Option<String>,
    scheme: Scheme,
    protocol: &'static str,
}

struct LoggedFailure {
    text: String,
    severity: Severity,
}

/// Who should read of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// The caller: it was told all there is to tell.
    Refusal,
    /// Whoever looks after the model, or after the load.
    Warning,
    /// Whoever looks after the server.
    Defect,
}

fn severity(error: &Error) -> Severity {
    match (error.kind(), error.fault()) {
        (Kind::Internal, _) => Severity::Defect,
        // Told apart by metrics; in the log, a flood of them would hide the rest.
        (Kind::Overloaded { .. } | Kind::Unavailable, _) | (_, Fault::Client) => Severity::Refusal,
        (_, Fault::Model | Fault::Server) => Severity::Warning,
    }
}

impl Record {
    /// Starts the record of a request.
    pub(crate) fn begin(
        request: &HttpRequest,
        door: &'static str,
        in_flight: InFlight,
        tracing: Option<&Tracing>,
    ) -> Self {
        metrics::in_flight(1.0);
        let headers = request.headers();
        let mut context =
            RequestContext { id: request_id::request_id(headers), trace: request_id::traceparent(headers) };
        let traced = tracing.and_then(|Tracing { traces, scheme }| {
            let (place, span) = traces.begin(context.trace, request_id::tracestate(headers));
            context.trace = Some(place);
            let traced = |span| Traced {
                span,
                route: request.match_pattern(),
                scheme: *scheme,
                protocol: if request.version() == Version::HTTP_2 { "2" } else { "1.1" },
            };
            span.map(traced).map(Box::new)
        });
        let path = request.path();
        let end = path.floor_char_boundary(LOGGED_PATH);
        Self {
            context,
            door,
            subject: None,
            model: None,
            rows: None,
            bytes_in: 0,
            bytes_out: 0,
            complete: false,
            broken_off: false,
            status: None,
            failure: None,
            method: request.method().clone(),
            path: path[..end].into(),
            started: Instant::now(),
            traced,
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
        self.failure = Some(LoggedFailure { text, severity: severity(error) });
    }

    /// The request's span, if it is traced.
    pub(crate) fn span(&mut self) -> Option<&mut RequestSpan> {
        self.traced.as_mut().map(|traced| &mut traced.span)
    }

    /// Whether the answer has no body by its method.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    fn message(&self) -> &'static str {
        match (&self.failure, self.complete) {
            (Some(_), false) if self.broken_off => "the answer was broken off",
            (_, false) => "the caller went away before it had its answer",
            (None, true) => "request answered",
            (Some(LoggedFailure { severity: Severity::Refusal, .. }), true) => "request refused",
            (Some(_), true) => "request failed",
        }
    }
}

impl Record {
    /// Has the span of the request sent.
    fn end_span(&mut self) {
        let Some(traced) = self.traced.take() else { return };
        let Traced { span, route, scheme, protocol } = *traced;
        span.end(&Outcome {
            request: &self.context,
            method: self.method.as_str(),
            route: route.as_deref(),
            path: &self.path,
            scheme,
            protocol,
            status: self.status,
            complete: self.complete,
            failure: self.failure.as_ref().map(|failure| failure.text.as_str()),
            model: self.model.as_ref().map(|(name, version)| (&**name, *version)),
            rows: self.rows,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end_span();
        let duration = self.started.elapsed();
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        let model = self.model.as_ref().map(|(name, version)| (&**name, *version));
        metrics::in_flight(-1.0);
        metrics::request(self.door, model, status, duration);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request.id = &*self.context.id,
                    trace.id = self.context.trace_id(),
                    traceparent = self.context.traceparent(),
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
        match self.failure.as_ref().map(|failure| failure.severity) {
            None | Some(Severity::Refusal) => line!(info),
            Some(Severity::Warning) => line!(warn),
            Some(Severity::Defect) => line!(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use actix_web::test::TestRequest;
    use serde_json::Value;

    use super::*;
    use crate::error::Condition;
    use crate::lifecycle::Lifecycle;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The one line that a request leaves, as JSON.
    fn line(work: impl FnOnce(&mut Record)) -> Value {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let request = TestRequest::post()
            .uri("/models/boston/predict?secret=query")
            .insert_header(("authorization", "Bearer secret-token"))
            .insert_header(("x-request-id", "id-1"))
            .insert_header(("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
            .to_http_request();
        let lifecycle = Lifecycle::new();
        tracing::subscriber::with_default(subscriber, || {
            let mut record = Record::begin(&request, "native", lifecycle.begin_request(), None);
            work(&mut record);
            assert_eq!(lifecycle.in_flight(), 1);
            drop(record);
            assert_eq!(lifecycle.in_flight(), 0);
        });
        let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        assert!(!text.contains("secret"), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not one line of JSON: {error}: {text}"))
    }

    fn failed(error: &Error, status: StatusCode) -> Value {
        line(|record| {
            record.failed(error);
            record.answered(status);
            record.complete = true;
        })
    }

    #[test]
    fn an_answered_request() {
        let line = line(|record| {
            record.subject = Some("app".into());
            record.model = Some(("boston".into(), 3));
            record.rows = Some(2);
            record.answered(StatusCode::OK);
            record.complete = true;
        });
        assert_eq!(line["level"], "INFO");
        let fields = &line["fields"];
        for (name, value) in [
            ("message", Value::from("request answered")),
            ("request.id", "id-1".into()),
            ("trace.id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            ("method", "POST".into()),
            ("path", "/models/boston/predict".into()),
            ("status", 200.into()),
            ("subject", "app".into()),
            ("model.name", "boston".into()),
            ("model.version", 3.into()),
            ("rows", 2.into()),
        ] {
            assert_eq!(fields[name], value, "{name} in {line}");
        }
        assert!(fields.get("error").is_none(), "{line}");
    }

    #[test]
    fn a_caller_that_left_is_logged_as_such() {
        let line = line(|_| ());
        assert_eq!(line["fields"]["status"], CLIENT_CLOSED_REQUEST);
        assert_eq!(line["fields"]["message"], "the caller went away before it had its answer");
    }

    #[test]
    fn an_answer_that_was_broken_off_is_logged_with_its_cause() {
        let line = line(|record| {
            record.answered(StatusCode::OK);
            record.failed(&Error::malformed("row 7 has 1 values for the 2 columns"));
            record.broken_off = true;
        });
        assert_eq!(line["fields"]["message"], "the answer was broken off");
        assert_eq!(line["fields"]["status"], 200);
        assert!(line["fields"]["error"].as_str().expect("text").contains("row 7"), "{line}");
    }

    #[test]
    fn failures_are_logged_with_their_cause_for_those_whom_they_concern() {
        let defect = failed(&Error::internal("disk full"), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((&defect["level"], &defect["fields"]["message"]), (&"ERROR".into(), &"request failed".into()));
        assert!(defect["fields"]["error"].as_str().expect("text").ends_with(": disk full"), "{defect}");

        let condition =
            Condition { class: vec!["simpleError".into()], message: "no x".into(), call: Some("f()".into()) };
        let error = Error::new(Kind::ModelFailed(condition), "the model raised an error");
        let model = failed(&error, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(model["level"], "WARN");
        assert!(model["fields"]["error"].as_str().expect("text").contains("[simpleError in f(): no x]"), "{model}");

        let refusal = failed(&Error::malformed("not JSON"), StatusCode::BAD_REQUEST);
        assert_eq!((&refusal["level"], &refusal["fields"]["message"]), (&"INFO".into(), &"request refused".into()));
        let draining = failed(&Error::new(Kind::Unavailable, "draining"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(draining["level"], "INFO");
    }
}
