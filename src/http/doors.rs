//! Doors: client conventions in front of one engine. A door decodes a body to
//! typed columns and encodes predictions; everything between is here, and the
//! same for all: admission, lookup, limits, deadline, stage times.

pub(crate) mod native;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use tokio::time::timeout_at;

use self::native::Native;
pub(crate) use self::stream::Rest;
use super::admission::Permit;
use super::coding::Coding;
use super::layers::Exchange;
use super::offload::offload;
use super::respond::Failure;
use super::{body, model_path, negotiate};
use crate::error::{Error, Kind, Result};
use crate::frame::json::Decoded;
use crate::frame::schema::InputSchemas;
use crate::scoring::catalog::Served;
use crate::scoring::{ScoreRequest, Scored, StageTimes};
use crate::telemetry::metrics::{self, Stage};
use crate::telemetry::traces::Dispatched;

/// Shortens a model's timeout for one request, in milliseconds.
const X_REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How long after the deadline the engine may still report it itself, with
/// more to say than we have.
const GRACE: Duration = Duration::from_millis(100);

/// Bodies from this size on are decoded beside the event loop; compressed ones
/// always, and those of dense formats, since a small one may stand for a large one.
const LARGE_BODY: usize = 256 * 1024;

/// Answers with so many cells or more are encoded beside the event loop.
const LARGE_ANSWER: usize = 20_000;

/// Smaller answers are not worth compressing.
const WORTH_COMPRESSING: usize = 32 * 1024;

/// One client convention.
pub(crate) trait Door: Copy + Send + 'static {
    /// Finds out what the request speaks, and refuses what can't be read or given.
    fn negotiate(self, headers: &HeaderMap, schemas: &InputSchemas) -> Result<Self>;

    /// `Content-Type` of the answer.
    fn content_type(self) -> &'static str;

    /// How a body is scored piece by piece; `None` for one that must be there as a
    /// whole.
    fn streaming(self) -> Option<Native>;

    /// Whether few bytes of a body may stand for many rows.
    fn is_dense(self) -> bool;

    /// Turns an inflated body into typed columns. What it stands for counts against the
    /// permit.
    fn decode(self, body: &[u8], schemas: &InputSchemas, limits: Limits, permit: &mut Permit) -> Result<Decoded>;

    /// Turns predictions into the body of an answer.
    fn encode(self, served: &Served, scored: &Scored, warnings: &[String]) -> Result<Vec<u8>>;
}

/// Scores the request's body with the model in its path. Everything that the
/// head alone can be refused for is checked before the body is read.
async fn score<D: Door>(exchange: &mut Exchange, door: D) -> Result<HttpResponse, Failure> {
    let state = Arc::clone(&exchange.state);
    let headers = exchange.request.headers();
    let permit = state.admission.enter().inspect_err(count_overload)?;
    let (name, version) = model_path::parse(&exchange.request)?;
    let served = state.catalog.resolve(name, version)?;
    exchange.record.model = Some((served.name.clone(), served.version));
    let coding = negotiate::content_coding(headers)?;
    let door = door.negotiate(headers, &served.info.schemas)?;
    let timeout = request_timeout(headers)?.map_or(served.info.timeout, |asked| asked.min(served.info.timeout));

    if let Some(native) = door.streaming()
        && served.scorer.joins_requests()
        && !body::is_known_to_fit(headers, state.max_body_bytes)
    {
        let how = stream::How { native, served, coding, answer_coding: negotiate::accepted_coding(headers), timeout };
        return stream::score(exchange, how, permit).await;
    }

    let limits = body::Limits { bytes: state.max_body_bytes, time: state.body_timeout };
    let mut permit = permit;
    let receiving = Instant::now();
    let body = body::read(&mut exchange.payload, headers, limits, &mut permit).await.inspect_err(count_overload)?;
    exchange.record.bytes_in = body.len();
    if let Some(span) = exchange.record.span() {
        span.stage("receive", receiving, Instant::now());
    }
    let deadline = Instant::now() + timeout;

    let work = Work { door, served, coding, answer_coding: negotiate::accepted_coding(headers), deadline };
    let limit =
        Limits { bytes: state.max_body_bytes, rows: state.max_rows, record_bytes: state.stream.max_record_bytes };
    let late =
        || Error::new(Kind::DeadlineExceeded, format!("the answer was not ready within {} ms", timeout.as_millis()));
    let outcome = timeout_at((deadline + GRACE).into(), work.run(exchange, body, limit, permit)).await;
    Ok(outcome.unwrap_or_else(|_| Err(late()))?)
}

/// Limits of what a body may decode to.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    bytes: usize,
    rows: usize,
    record_bytes: usize,
}

/// What is to be done with a body that has arrived.
struct Work<D> {
    door: D,
    served: Served,
    coding: Coding,
    answer_coding: Coding,
    deadline: Instant,
}

impl<D: Door> Work<D> {
    async fn run(self, exchange: &mut Exchange, body: Bytes, limits: Limits, permit: Permit) -> Result<HttpResponse> {
        let Self { door, served, coding, answer_coding, deadline } = self;
        let started = Instant::now();
        let large = body.len() >= LARGE_BODY || coding != Coding::Identity || door.is_dense();
        let turn = if large { Some(exchange.state.admission.turn_to_decode().await?) } else { None };
        let schemas = Arc::clone(&served.info);
        // The permit goes along: the work counts even if the caller leaves.
        let decoded = offload(large, move || {
            let (mut permit, _turn) = (permit, turn);
            let decoded = match coding {
                Coding::Identity => door.decode(&body, &schemas.schemas, limits, &mut permit),
                _ => coding
                    .inflate(&body, limits.bytes, &mut permit)
                    .and_then(|inflated| door.decode(&inflated, &schemas.schemas, limits, &mut permit)),
            };
            decoded.map(|decoded| (decoded, permit))
        });
        let decoded = decoded.await.inspect_err(count_overload);
        let dispatching = Instant::now();
        if let Some(span) = exchange.record.span() {
            span.stage(Stage::Decode.name(), started, dispatching);
        }
        let (Decoded { inputs, mut warnings }, permit) = decoded?;
        let decode = dispatching - started;
        let rows = inputs.iter().map(|(_, batch)| batch.num_rows()).max();
        exchange.record.rows = rows;

        let request = ScoreRequest { inputs, deadline, context: exchange.record.context.clone() };
        let scored = served.scorer.score(request).await.inspect_err(count_overload);
        let encoding = Instant::now();
        if let Some(span) = exchange.record.span() {
            span.dispatched(dispatching, encoding, scored.as_ref().ok().map(dispatched));
        }
        let scored = scored?;
        let times = scored.times;
        warnings.extend(scored.warnings.iter().cloned());

        let cells = scored.batch.num_rows() * scored.batch.num_columns();
        let model = (served.name.clone(), served.version);
        let (bytes, answer_coding) = offload(cells >= LARGE_ANSWER, move || {
            let _permit = permit;
            let bytes = door.encode(&served, &scored, &warnings)?;
            match bytes.len() >= WORTH_COMPRESSING {
                true => Ok((answer_coding.deflate(bytes).map_err(Error::internal)?, answer_coding)),
                false => Ok((bytes, Coding::Identity)),
            }
        })
        .await?;
        let encoded = Instant::now();
        let encode = encoded - encoding;
        if let Some(span) = exchange.record.span() {
            span.stage(Stage::Encode.name(), encoding, encoded);
        }

        let stages = [
            (Stage::Decode, decode),
            (Stage::Queue, times.queue),
            (Stage::Convert, times.convert),
            (Stage::Score, times.score),
            (Stage::Encode, encode),
        ];
        for (stage, duration) in stages {
            metrics::stage(stage, (&model.0, model.1), duration);
        }
        let mut response = ok(door.content_type(), answer_coding).body(bytes);
        if let Ok(value) = HeaderValue::try_from(server_timing(&stages)) {
            response.headers_mut().insert(SERVER_TIMING, value);
        }
        Ok(response)
    }
}

/// What a span says of how rows were scored.
fn dispatched(scored: &Scored) -> Dispatched {
    let StageTimes { queue, convert, score } = scored.times;
    Dispatched { queue, convert, score, call: scored.call.map(|call| (call.worker, call.rows)) }
}

/// The head of an answer.
fn ok(content_type: &'static str, coding: Coding) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.content_type(content_type).insert_header((header::VARY, "accept, accept-encoding"));
    if coding != Coding::Identity {
        response.insert_header((header::CONTENT_ENCODING, coding.name()));
    }
    response
}

/// <https://www.w3.org/TR/server-timing/>: durations are milliseconds. Time in
/// R's conversion is part of the score as a caller sees it.
fn server_timing(stages: &[(Stage, Duration)]) -> String {
    let entries =
        stages.iter().map(|(stage, duration)| format!("{};dur={:.3}", stage.name(), duration.as_secs_f64() * 1e3));
    entries.collect::<Vec<_>>().join(", ")
}

fn request_timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(X_REQUEST_TIMEOUT_MS) else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok()).filter(|ms| *ms > 0);
    match milliseconds {
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds.into()))),
        None => Err(Error::malformed(format!(
            "the header X-Request-Timeout-Ms is not a whole number of milliseconds from 1 to {}",
            u32::MAX
        ))),
    }
}

/// Counts a request that was turned away since more was asked than can be answered.
pub(super) fn count_overload(error: &Error) {
    if let Kind::Overloaded { what, .. } = error.kind() {
        metrics::rejected(what.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_header_is_a_positive_number() {
        let parse = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_TIMEOUT_MS, HeaderValue::from_static(text));
            request_timeout(&headers)
        };
        assert_eq!(parse("250").expect("good"), Some(Duration::from_millis(250)));
        assert_eq!(request_timeout(&HeaderMap::new()).expect("absent"), None);
        for bad in ["0", "-1", "1.5", "soon", "", "4294967296"] {
            assert_eq!(*parse(bad).expect_err(bad).kind(), Kind::Malformed);
        }
    }

    #[test]
    fn server_timing_is_in_milliseconds() {
        let stages = [(Stage::Decode, Duration::from_micros(123)), (Stage::Score, Duration::from_millis(2))];
        assert_eq!(server_timing(&stages), "decode;dur=0.123, score;dur=2.000");
    }
}
