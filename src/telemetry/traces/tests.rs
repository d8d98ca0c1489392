//! Spans as an exporter gets them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;

use super::*;
use crate::telemetry::context::RequestContext;

/// Keeps what it is given, or refuses it.
#[derive(Debug, Clone, Default)]
struct Memory {
    spans: Arc<Mutex<Vec<SpanData>>>,
    is_away: bool,
}

impl SpanExporter for Memory {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if self.is_away {
            return Err(OTelSdkError::InternalFailure("away".to_owned()));
        }
        self.spans.lock().expect("no panic").extend(batch);
        Ok(())
    }
}

fn settings(change: impl FnOnce(&mut TraceSettings)) -> TraceSettings {
    let mut settings = TraceSettings::default();
    change(&mut settings);
    settings
}

fn outcome(request: &RequestContext) -> Outcome<'_> {
    Outcome {
        request,
        method: "POST",
        route: Some("/models/{name}/predict"),
        path: "/models/boston/predict",
        scheme: Scheme::Https,
        protocol: "1.1",
        status: Some(200),
        complete: true,
        failure: None,
        model: Some(("boston", 3)),
        rows: Some(2),
        bytes_in: 10,
        bytes_out: 20,
    }
}

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";

/// The spans that come of requests, by name.
fn exported(settings: &TraceSettings, work: impl FnOnce(&Traces)) -> BTreeMap<String, SpanData> {
    let memory = Memory::default();
    let traces = Traces::with_exporter(settings, memory.clone());
    work(&traces);
    traces.stop();
    let spans = memory.spans.lock().expect("no panic").clone();
    let count = spans.len();
    let named: BTreeMap<String, SpanData> = spans.into_iter().map(|span| (span.name.to_string(), span)).collect();
    assert_eq!(named.len(), count, "two of one name");
    named
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.to_string())
}

#[test]
fn a_request_is_a_span_with_its_stages_below() {
    let ms = Duration::from_millis;
    let spans = exported(&settings(|_| ()), |traces| {
        let (place, span) = traces.begin(Traceparent::parse(&format!("{CALLER}01")), Some("vendor=1"));
        assert!(
            place.to_string().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && place.to_string().ends_with("-01")
        );
        let mut span = span.expect("its caller samples it");
        let start = Instant::now();
        // Twenty milliseconds are between the wait and the last attempt, as when a worker is lost.
        let dispatched = Dispatched { queue: ms(5), convert: ms(3), score: ms(10), call: Some((7, 64)) };
        span.stage("decode", start, start + ms(1));
        span.dispatched(start + ms(1), start + ms(39), Some(dispatched));
        let request = RequestContext { id: "r-1".into(), trace: Some(place) };
        std::thread::park_timeout(ms(45).saturating_sub(start.elapsed()));
        while start.elapsed() < ms(45) {
            std::hint::spin_loop();
        }
        span.end(&outcome(&request));
    });
    assert_eq!(
        spans.keys().collect::<Vec<_>>(),
        ["POST /models/{name}/predict", "convert", "decode", "dispatch", "queue", "score"]
    );
    let server = &spans["POST /models/{name}/predict"];
    assert_eq!(server.span_kind, SpanKind::Server);
    assert_eq!(server.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(server.span_context.trace_state().header(), "vendor=1");
    assert_eq!(
        (server.parent_span_id.to_string(), server.parent_span_is_remote),
        ("00f067aa0ba902b7".to_owned(), true)
    );
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/models/{name}/predict"),
        ("http.response.status_code", "200"),
        ("url.path", "/models/boston/predict"),
        ("url.scheme", "https"),
        ("network.protocol.version", "1.1"),
        ("rscore.request.id", "r-1"),
        ("rscore.model.name", "boston"),
        ("rscore.model.version", "3"),
        ("rscore.rows", "2"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(server.status, Status::Unset);
    let dispatch = &spans["dispatch"];
    for (name, parent) in
        [("decode", server), ("dispatch", server), ("queue", dispatch), ("convert", dispatch), ("score", dispatch)]
    {
        let span = &spans[name];
        assert_eq!(span.parent_span_id, parent.span_context.span_id(), "{name}");
        assert_eq!(span.span_context.trace_id(), server.span_context.trace_id(), "{name}");
        assert!(parent.start_time <= span.start_time && span.end_time <= parent.end_time, "{name}");
    }
    let took = |name: &str| spans[name].end_time.duration_since(spans[name].start_time).expect("in order");
    assert_eq!([took("queue"), took("convert"), took("score")], [ms(5), ms(3), ms(10)]);
    assert_eq!(spans["convert"].start_time.duration_since(spans["queue"].end_time).expect("later"), ms(20));
    assert_eq!(spans["score"].end_time, dispatch.end_time);
    assert_eq!(attribute(dispatch, "rscore.worker.id").as_deref(), Some("7"));
    assert_eq!(attribute(dispatch, "rscore.batch.rows").as_deref(), Some("64"));
}

#[test]
fn the_caller_decides_and_else_the_ratio() {
    let never = settings(|settings| settings.sample_ratio = 0.0);
    let spans = exported(&never, |traces| {
        assert!(traces.begin(Traceparent::parse(&format!("{CALLER}01")), None).1.is_some());
        let (place, span) = traces.begin(None, None);
        assert!(span.is_none());
        assert!(place.to_string().ends_with("-00"), "{place}");
    });
    assert_eq!(spans.len(), 1, "the one that its caller samples, and that nobody ended");
    exported(&settings(|_| ()), |traces| {
        let (place, span) = traces.begin(Traceparent::parse(&format!("{CALLER}00")), None);
        assert!(span.is_none(), "its caller does not sample it");
        assert!(place.to_string().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{place}");
        assert!(place.to_string().ends_with("-00"), "{place}");
    });
    let spans = exported(&settings(|_| ()), |traces| {
        let (place, span) = traces.begin(None, None);
        let request = RequestContext { id: "r".into(), trace: Some(place) };
        span.expect("all are sampled").end(&outcome(&request));
    });
    assert_eq!(spans.values().next().expect("one").parent_span_id, SpanId::INVALID);
}

#[test]
fn what_went_wrong_is_told() {
    let end = |change: fn(&mut Outcome<'_>)| {
        let spans = exported(&settings(|_| ()), |traces| {
            let (place, span) = traces.begin(None, None);
            let request = RequestContext { id: "r".into(), trace: Some(place) };
            let mut outcome = outcome(&request);
            change(&mut outcome);
            span.expect("sampled").end(&outcome);
        });
        spans.into_values().next().expect("one")
    };
    let failed = end(|outcome| {
        outcome.status = Some(500);
        outcome.failure = Some("the model raised an error: no x");
    });
    assert_eq!(failed.status, Status::error("the model raised an error: no x"));
    assert_eq!(attribute(&failed, "error.type").as_deref(), Some("500"));
    let refused = end(|outcome| {
        outcome.status = Some(422);
        outcome.failure = Some("row 1 has no column x");
    });
    assert_eq!((refused.status.clone(), attribute(&refused, "error.type")), (Status::Unset, None));
    let left = end(|outcome| {
        outcome.status = None;
        outcome.complete = false;
    });
    assert_eq!(attribute(&left, "error.type").as_deref(), Some("incomplete"));
    let odd = end(|outcome| {
        outcome.method = "BREW";
        outcome.route = None;
    });
    assert_eq!((&*odd.name, attribute(&odd, "http.request.method").as_deref()), ("HTTP", Some("_OTHER")));
    assert_eq!(attribute(&odd, "http.request.method_original").as_deref(), Some("BREW"));
}

#[test]
fn the_children_of_a_request_are_bounded() {
    let memory = Memory::default();
    let traces = Traces::with_exporter(&settings(|_| ()), memory.clone());
    let (place, span) = traces.begin(None, None);
    let mut span = span.expect("sampled");
    let now = Instant::now();
    for _ in 0..1000 {
        span.stage("decode", now, now);
    }
    span.end(&outcome(&RequestContext { id: "r".into(), trace: Some(place) }));
    traces.stop();
    let spans = memory.spans.lock().expect("no panic");
    assert_eq!(spans.len(), 129);
    let server = spans.iter().find(|span| span.span_kind == SpanKind::Server).expect("one");
    assert_eq!(attribute(server, "rscore.stages_left_out").as_deref(), Some("872"));
}

#[test]
fn no_more_spans_wait_than_there_is_room_for() {
    let memory = Memory::default();
    let bounded = settings(|settings| {
        settings.max_queued_spans = 100;
        settings.interval = Duration::from_secs(3600);
    });
    let traces = Traces::with_exporter(&bounded, memory.clone());
    // A batch is as large as the room, so that the hundredth span has all of them sent;
    // how many come after that is not for this test to say.
    for _ in 0..99 {
        let (place, span) = traces.begin(None, None);
        span.expect("sampled").end(&outcome(&RequestContext { id: "r".into(), trace: Some(place) }));
    }
    traces.stop();
    assert_eq!(memory.spans.lock().expect("no panic").len(), 99);
    let room = Room::new(2);
    assert_eq!([room.enter(), room.enter(), room.enter()], [true, true, false]);
    room.leave(1);
    assert!(room.enter());
}

#[test]
fn a_collector_that_is_away_stops_nothing() {
    let traces = Traces::with_exporter(&settings(|_| ()), Memory { is_away: true, ..Memory::default() });
    for _ in 0..2000 {
        let (place, span) = traces.begin(None, None);
        span.expect("sampled").end(&outcome(&RequestContext { id: "r".into(), trace: Some(place) }));
    }
    traces.stop();
}
