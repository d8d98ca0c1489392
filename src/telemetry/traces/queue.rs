//! Around the SDK's queue of spans: it is bounded where the loss can be counted, and
//! what becomes of each span shows in the metrics. A collector that is away is told of
//! in the log, and not for each batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use super::collector::take_unreached;
use crate::telemetry::metrics::{self, SpanFate};

/// How often it is said that spans can't be sent.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Places of spans that wait to be sent.
#[derive(Debug, Clone)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
    places: usize,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self { taken: Arc::default(), places }
    }

    pub(super) fn enter(&self) -> bool {
        let enter = |taken: usize| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_ok()
    }

    pub(super) fn leave(&self, spans: usize) {
        self.taken.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// Hands spans on while there is room.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    next: P,
    room: Room,
}

impl<P> Bounded<P> {
    pub(super) fn new(next: P, room: Room) -> Self {
        Self { next, room }
    }
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        match self.room.enter() {
            true => self.next.on_end(span),
            false => metrics::spans(SpanFate::Dropped, 1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Counts what was sent and what was not.
#[derive(Debug)]
pub(super) struct Reporting<E> {
    next: E,
    room: Room,
    outage: Mutex<Option<Outage>>,
}

/// A time in which nothing can be sent.
#[derive(Debug)]
struct Outage {
    said: Instant,
    lost: usize,
}

impl<E> Reporting<E> {
    pub(super) fn new(next: E, room: Room) -> Self {
        Self { next, room, outage: Mutex::default() }
    }

    fn report(&self, result: &OTelSdkResult, spans: usize, now: Instant) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, outage.take()) {
            (Ok(()), ended) => {
                metrics::spans(SpanFate::Exported, spans);
                if let Some(Outage { lost, .. }) = ended {
                    tracing::info!("traces are sent again; {lost} spans were lost meanwhile");
                }
            }
            (Err(error), earlier) => {
                metrics::spans(SpanFate::Failed, spans);
                let lost = earlier.as_ref().map_or(0, |outage| outage.lost) + spans;
                let said = earlier.map(|outage| outage.said).filter(|said| now.duration_since(*said) < SAID_EVERY);
                let reason = take_unreached().unwrap_or_else(|| error.to_string());
                if said.is_none() {
                    tracing::warn!("traces can't be sent to traces.endpoint, {lost} spans are lost: {reason}");
                }
                *outage = Some(Outage { said: said.unwrap_or(now), lost });
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.room.leave(spans);
        let result = self.next.export(batch).await;
        self.report(&result, spans, Instant::now());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.next.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}
