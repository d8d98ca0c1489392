//! The span of a request. What happened in it is noted with the times that were
//! measured anyway; its children are made of that when the request has ended.

use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE,
    NETWORK_PROTOCOL_VERSION, URL_PATH, URL_SCHEME,
};

use crate::telemetry::context::{RequestContext, Traceparent};

/// Most children of one request. A body that is scored piece by piece has five for
/// each piece; those past the bound are counted.
const MAX_CHILDREN: usize = 128;

/// Methods whose names are no text of a caller.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The span of a request that is sampled.
#[derive(Debug)]
pub struct RequestSpan {
    tracer: SdkTracer,
    span: SdkSpan,
    began: (SystemTime, Instant),
    children: Vec<Child>,
    left_out: i64,
}

/// A part of a request, as it was noted.
#[derive(Debug)]
struct Child {
    name: &'static str,
    start: Instant,
    end: Instant,
    dispatched: Option<Dispatched>,
    failed: bool,
}

/// How rows were scored: where the time went between their decoding and encoding, and
/// whose work it was.
#[derive(Debug, Clone, Copy)]
pub struct Dispatched {
    /// Waiting for a slot and a worker, from the beginning.
    pub queue: Duration,
    /// Conversion in the worker.
    pub convert: Duration,
    /// Inside R, at the end.
    pub score: Duration,
    /// The worker, and the rows of its call; none when there were several calls.
    pub call: Option<(u64, usize)>,
}

/// How callers connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Behind a mesh that does TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What is known of a request when it has ended.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// Its id.
    pub request: &'a RequestContext,
    /// Its method.
    pub method: &'a str,
    /// The entry of the route table, if there is one.
    pub route: Option<&'a str>,
    /// Its path, bounded.
    pub path: &'a str,
    /// How the caller connected.
    pub scheme: Scheme,
    /// Version of HTTP.
    pub protocol: &'static str,
    /// The status, if one was decided.
    pub status: Option<u16>,
    /// Whether the caller got its answer whole.
    pub complete: bool,
    /// Why it failed, if it did.
    pub failure: Option<&'a str>,
    /// What scored it.
    pub model: Option<(&'a str, u32)>,
    /// Its rows.
    pub rows: Option<usize>,
    /// Bytes of its body.
    pub bytes_in: usize,
    /// Bytes of its answer.
    pub bytes_out: usize,
}

impl RequestSpan {
    pub(super) fn begin(
        tracer: &SdkTracer,
        caller: Option<Traceparent>,
        state: Option<&str>,
    ) -> (Traceparent, Option<Self>) {
        let began = (SystemTime::now(), Instant::now());
        let mut parent = Context::new();
        if let Some(Traceparent { trace, span, flags }) = caller {
            let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
            parent = parent.with_remote_span_context(SpanContext::new(trace, span, flags, true, state));
        }
        let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server).with_start_time(began.0);
        let span = tracer.build_with_context(builder, &parent);
        let context = span.span_context();
        let place = Traceparent { trace: context.trace_id(), span: context.span_id(), flags: context.trace_flags() };
        let recorded = span.is_recording().then(|| Self {
            tracer: tracer.clone(),
            span,
            began,
            children: Vec::with_capacity(8),
            left_out: 0,
        });
        (place, recorded)
    }

    /// Notes a stage.
    pub fn stage(&mut self, name: &'static str, start: Instant, end: Instant) {
        self.note(Child { name, start, end, dispatched: None, failed: false });
    }

    /// Notes that rows were scored, or were not: then there is nothing to say of where
    /// the time went.
    pub fn dispatched(&mut self, start: Instant, end: Instant, dispatched: Option<Dispatched>) {
        self.note(Child { name: "dispatch", start, end, dispatched, failed: dispatched.is_none() });
    }

    fn note(&mut self, child: Child) {
        let spans = |child: &Child| if child.dispatched.is_some() { 4 } else { 1 };
        if self.children.iter().map(spans).sum::<usize>() + spans(&child) > MAX_CHILDREN {
            self.left_out += 1;
            return;
        }
        self.children.push(child);
    }

    /// Ends the request and all of its parts.
    pub fn end(mut self, outcome: &Outcome<'_>) {
        let known = METHODS.contains(&outcome.method);
        let method = if known { outcome.method } else { "_OTHER" };
        let name = if known { method } else { "HTTP" };
        self.span.update_name(match outcome.route {
            Some(route) => format!("{name} {route}"),
            None => name.to_owned(),
        });
        self.span.set_attributes(attributes(outcome, method));
        if !known {
            self.span.set_attribute(KeyValue::new(HTTP_REQUEST_METHOD_ORIGINAL, outcome.method.to_owned()));
        }
        match outcome.status {
            // What a caller did wrong is no error of the server.
            Some(status) if status >= 500 => {
                self.span.set_attribute(KeyValue::new(ERROR_TYPE, status.to_string()));
                self.span.set_status(Status::error(outcome.failure.unwrap_or_default().to_owned()));
            }
            Some(_) if outcome.complete => {}
            _ => {
                self.span.set_attribute(KeyValue::new(ERROR_TYPE, "incomplete"));
                if let Some(failure) = outcome.failure {
                    self.span.set_status(Status::error(failure.to_owned()));
                }
            }
        }
        if self.left_out > 0 {
            self.span.set_attribute(KeyValue::new("rscore.stages_left_out", self.left_out));
        }
        let end = Instant::now();
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        for child in std::mem::take(&mut self.children) {
            self.make(child, &parent, end);
        }
        self.span.end_with_timestamp(self.time(end));
    }

    /// The span of a part, and of the parts that it has itself.
    fn make(&self, child: Child, parent: &Context, latest: Instant) {
        let (start, end) = (child.start.max(self.began.1), child.end.min(latest));
        let mut span = self.begin_child(child.name, start, parent);
        if child.failed {
            span.set_status(Status::error(""));
        }
        if let Some(Dispatched { queue, convert, score, call }) = child.dispatched {
            if let Some((worker, rows)) = call {
                span.set_attribute(KeyValue::new("rscore.worker.id", integer(worker)));
                span.set_attribute(KeyValue::new("rscore.batch.rows", integer(rows)));
            }
            let within = Context::new().with_remote_span_context(span.span_context().clone());
            // The wait comes first. A worker tells how long it converted and scored, and
            // that it answered: what lies between is the way there, or an earlier attempt.
            let waited = (start + queue).min(end);
            let scoring = end.checked_sub(score).unwrap_or(waited).max(waited);
            let converting = scoring.checked_sub(convert).unwrap_or(waited).max(waited);
            for (name, start, end) in
                [("queue", start, waited), ("convert", converting, scoring), ("score", scoring, end)]
            {
                self.begin_child(name, start, &within).end_with_timestamp(self.time(end));
            }
        }
        span.end_with_timestamp(self.time(end));
    }

    fn begin_child(&self, name: &'static str, start: Instant, parent: &Context) -> SdkSpan {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(self.time(start));
        self.tracer.build_with_context(builder, parent)
    }

    /// A moment as the time of day. All are counted from one beginning, so that a clock
    /// that is set meanwhile makes no child longer than its parent.
    fn time(&self, moment: Instant) -> SystemTime {
        self.began.0 + moment.saturating_duration_since(self.began.1)
    }
}

fn attributes(outcome: &Outcome<'_>, method: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(HTTP_REQUEST_METHOD, method.to_owned()),
        KeyValue::new(URL_PATH, outcome.path.to_owned()),
        KeyValue::new(URL_SCHEME, outcome.scheme.name()),
        KeyValue::new(NETWORK_PROTOCOL_VERSION, outcome.protocol),
        KeyValue::new("rscore.request.id", outcome.request.id.to_string()),
        KeyValue::new("rscore.request.bytes", integer(outcome.bytes_in)),
        KeyValue::new("rscore.response.bytes", integer(outcome.bytes_out)),
    ];
    if let Some(route) = outcome.route {
        attributes.push(KeyValue::new(HTTP_ROUTE, route.to_owned()));
    }
    if let Some(status) = outcome.status {
        attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
    }
    if let Some((name, version)) = outcome.model {
        attributes.push(KeyValue::new("rscore.model.name", name.to_owned()));
        attributes.push(KeyValue::new("rscore.model.version", i64::from(version)));
    }
    if let Some(rows) = outcome.rows {
        attributes.push(KeyValue::new("rscore.rows", integer(rows)));
    }
    attributes
}

/// Attributes are numbers with a sign.
fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
