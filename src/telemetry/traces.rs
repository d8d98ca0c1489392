//! Traces: a span per request and one per stage of it, sent to an OpenTelemetry
//! collector over OTLP. Off unless a collector is named. Spans are gathered in a
//! bounded queue and sent by a thread of their own: no request waits for a collector
//! or fails with one.

mod collector;
mod headers;
mod queue;
mod request;
#[cfg(test)]
mod tests;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanExporter,
};
use opentelemetry_semantic_conventions::resource::SERVICE_VERSION;

use self::collector::exporter;
use self::queue::{Bounded, Reporting, Room};
pub use self::request::{Dispatched, Outcome, RequestSpan, Scheme};
use super::build;
use super::context::Traceparent;
use crate::config::Problem;
use crate::config::settings::TraceSettings;

/// Most spans that are sent at once.
const BATCH: usize = 512;

/// How long the end of the process waits for spans that were not sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes spans of requests and has them sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts what sends spans, if there is somebody to send them to. Must be called
    /// outside of an asynchronous runtime.
    ///
    /// # Errors
    /// Headers that can't be read, or a client that can't be made.
    pub fn start(settings: &TraceSettings) -> Result<Option<Self>, Problem> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        Ok(Some(Self::with_exporter(settings, exporter(endpoint, settings)?)))
    }

    fn with_exporter(settings: &TraceSettings, exporter: impl SpanExporter + 'static) -> Self {
        let room = Room::new(settings.max_queued_spans);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(settings.max_queued_spans)
            .with_max_export_batch_size(BATCH.min(settings.max_queued_spans))
            .with_scheduled_delay(settings.interval)
            .build();
        let exporter = Reporting::new(exporter, room.clone());
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new(SERVICE_VERSION, build::VERSION))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio))))
            .with_resource(resource)
            .with_span_processor(Bounded::new(batches, room))
            .build();
        Self { tracer: provider.tracer("rscore"), provider }
    }

    /// Begins the span of a request. Also gives where it stands in its trace, for the
    /// log, which is known of a request that is not sampled too.
    pub fn begin(&self, caller: Option<Traceparent>, state: Option<&str>) -> (Traceparent, Option<RequestSpan>) {
        RequestSpan::begin(&self.tracer, caller, state)
    }

    /// Sends what is left, within a bounded time. Later spans are not sent.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!("the last traces were not sent: {error}");
        }
    }
}
