//! The metrics: a function for each thing that is measured, so that no other
//! part writes the name of a metric or of a label, and the text that Prometheus
//! scrapes. Before [`install`] all of them do nothing.

pub mod catalogue;
pub mod labels;
mod remembered;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use self::catalogue::{CATALOGUE, Kind, Metric};
pub use self::labels::{DeathReason, Model, SpanFate, Stage, StartReason, WorkerState, ZygoteDeath};
use self::remembered::RequestHandles;
use super::build;

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts counting in this process and gives the handle that reads the counts.
/// Later calls give the same handle, for several servers may run in one process.
pub fn install() -> &'static PrometheusHandle {
    INSTALLED.get_or_init(|| {
        let recorder = recorder();
        let handle = recorder.handle();
        match metrics::set_global_recorder(recorder) {
            Ok(()) => start(),
            Err(_) => tracing::error!("Metrics go elsewhere: another recorder was installed before"),
        }
        handle
    })
}

fn is_installed() -> bool {
    INSTALLED.get().is_some()
}

/// All metrics in the text format of Prometheus; empty before [`install`].
pub fn render() -> String {
    INSTALLED.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sorts observations into their buckets. They pile up until this or [`render`]
/// is called: call it every few seconds, for maybe nobody scrapes.
pub fn upkeep() {
    if let Some(handle) = INSTALLED.get() {
        handle.run_upkeep();
    }
}

/// A request was answered. `model` is what the catalog found for it, and
/// nothing when it found none.
pub fn request(door: &'static str, model: Option<Model<'_>>, status: u16, duration: Duration) {
    let handles = remembered::request(door, model, status, || {
        let (name, version) = match model {
            Some((name, version)) => (name.to_owned().into(), version.to_string().into()),
            None => (SharedString::const_str(""), SharedString::const_str("")),
        };
        RequestHandles {
            count: counter(&catalogue::REQUESTS, [name.clone(), version, door.into(), status.to_string().into()]),
            duration: histogram(&catalogue::REQUEST_DURATION, [name, door.into()]),
        }
    });
    handles.count.increment(1);
    handles.duration.record(duration);
}

/// A request spent so long in a stage.
pub fn stage(stage: Stage, model: Model<'_>, duration: Duration) {
    let labels = || [model.0.to_owned().into(), stage.name().into()];
    remembered::stage(stage, model.0, || histogram(&catalogue::STAGE_DURATION, labels())).record(duration);
}

/// The number of requests that were begun and are not yet answered changed.
pub fn in_flight(change: f64) {
    gauge(&catalogue::IN_FLIGHT, []).increment(change);
}

/// The number of open connections of callers changed.
pub fn connections(change: f64) {
    gauge(&catalogue::CONNECTIONS, []).increment(change);
}

/// A connection was closed because its caller did not do its part.
pub fn connection_cut(reason: &'static str) {
    counter(&catalogue::CONNECTIONS_CUT, [reason.into()]).increment(1);
}

/// A request was turned away before any work was done for it.
pub fn rejected(reason: &'static str) {
    counter(&catalogue::REJECTED, [reason.into()]).increment(1);
}

/// A request had no token that allows it.
pub fn auth_failure(reason: &'static str) {
    counter(&catalogue::AUTH_FAILURES, [reason.into()]).increment(1);
}

/// A call of R scored so many rows.
pub fn batch(model: Model<'_>, rows: usize) {
    histogram(&catalogue::BATCH_ROWS, version(model)).record(rows as f64);
}

/// What waits for a worker of a version: rows, their memory, and for how long.
pub fn queue(model: Model<'_>, rows: usize, bytes: usize, age: Duration) {
    gauge(&catalogue::QUEUE_ROWS, version(model)).set(rows as f64);
    gauge(&catalogue::QUEUE_BYTES, version(model)).set(bytes as f64);
    gauge(&catalogue::QUEUE_AGE, version(model)).set(age);
}

/// An audit found rows of a version to depend on each other.
pub fn row_independence_failed(model: Model<'_>) {
    counter(&catalogue::INDEPENDENCE_FAILURES, version(model)).increment(1);
}

/// So many workers are in a state.
pub fn workers(model: Model<'_>, state: WorkerState, count: usize) {
    gauge(&catalogue::WORKERS, with(model, state.name())).set(count as f64);
}

/// A worker was started.
pub fn worker_started(model: Model<'_>, reason: StartReason) {
    counter(&catalogue::WORKER_STARTS, with(model, reason.name())).increment(1);
}

/// A worker ended.
pub fn worker_died(model: Model<'_>, reason: DeathReason) {
    counter(&catalogue::WORKER_DEATHS, with(model, reason.name())).increment(1);
}

/// Whether the zygote of a version is there, and whether it can't be started at
/// present.
pub fn zygote(model: Model<'_>, up: bool, breaker_open: bool) {
    gauge(&catalogue::ZYGOTE_UP, version(model)).set(f64::from(up));
    gauge(&catalogue::ZYGOTE_BREAKER_OPEN, version(model)).set(f64::from(breaker_open));
}

/// A zygote ended that was needed.
pub fn zygote_died(model: Model<'_>, reason: ZygoteDeath) {
    counter(&catalogue::ZYGOTE_DEATHS, with(model, reason.name())).increment(1);
}

/// A zygote could not be replaced.
pub fn zygote_start_failed(model: Model<'_>) {
    counter(&catalogue::ZYGOTE_START_FAILURES, version(model)).increment(1);
}

/// So many requests of a version are refused for a while.
pub fn quarantine(model: Model<'_>, entries: usize) {
    gauge(&catalogue::QUARANTINE_ENTRIES, version(model)).set(entries as f64);
}

/// A request was refused because the same one had ended two workers.
pub fn quarantined(model: Model<'_>) {
    counter(&catalogue::QUARANTINED, version(model)).increment(1);
}

/// A line that R printed was not logged, since there were too many.
pub fn output_suppressed(model: Model<'_>) {
    counter(&catalogue::OUTPUT_SUPPRESSED, version(model)).increment(1);
}

/// So many spans were sent, or were not.
pub fn spans(fate: SpanFate, spans: usize) {
    counter(&catalogue::TRACE_SPANS, [fate.name().into()]).increment(spans as u64);
}

/// Resident memory of all workers of a version, in bytes.
pub fn worker_rss(model: Model<'_>, bytes: u64) {
    gauge(&catalogue::WORKER_RSS, version(model)).set(bytes as f64);
}

/// Memory of all workers of a version in bytes, where a page that several share
/// counts once in sum.
pub fn worker_pss(model: Model<'_>, bytes: u64) {
    gauge(&catalogue::WORKER_PSS, version(model)).set(bytes as f64);
}

/// A version was loaded, in so much time.
pub fn model_loaded(model: Model<'_>, digest: &str, duration: Duration) {
    gauge(&catalogue::MODEL_LOAD, version(model)).set(duration);
    gauge(&catalogue::MODEL_INFO, with(model, digest.to_owned())).set(1.0);
    // What may go wrong with it begins at zero: a counter that first appears as 1 has no
    // increase that an alert could see.
    for reason in DeathReason::ALL {
        counter(&catalogue::WORKER_DEATHS, with(model, reason.name())).increment(0);
    }
    counter(&catalogue::INDEPENDENCE_FAILURES, version(model)).increment(0);
    counter(&catalogue::QUARANTINED, version(model)).increment(0);
    counter(&catalogue::RELOADS, with(model, "failed")).increment(0);
}

/// A version is no longer served.
pub fn model_unloaded(model: Model<'_>, digest: &str) {
    gauge(&catalogue::MODEL_INFO, with(model, digest.to_owned())).set(0.0);
}

/// Whether a version is in a state.
pub fn model_state(model: Model<'_>, state: &'static str, is: bool) {
    gauge(&catalogue::MODEL_STATE, with(model, state)).set(f64::from(is));
}

/// A version is served by this generation; 0 when it is gone.
pub fn generation(model: Model<'_>, number: u64) {
    gauge(&catalogue::GENERATION, version(model)).set(number as f64);
}

/// An attempt to load a version ended, or its folder is gone.
pub fn reload(model: Model<'_>, outcome: &'static str) {
    counter(&catalogue::RELOADS, with(model, outcome)).increment(1);
}

/// A version was fetched from blob storage, in so much time.
pub fn model_fetched(model: Model<'_>, duration: Duration) {
    counter(&catalogue::MODEL_FETCHES, with(model, "fetched")).increment(1);
    gauge(&catalogue::MODEL_FETCH, version(model)).set(duration);
}

/// A version could not be fetched from blob storage.
pub fn model_fetch_failed(model: Model<'_>) {
    counter(&catalogue::MODEL_FETCHES, with(model, "failed")).increment(1);
}

/// So many bytes of models came from blob storage.
pub fn model_fetch_bytes(bytes: u64) {
    counter(&catalogue::MODEL_FETCH_BYTES, []).increment(bytes);
}

/// Blob storage was looked at for models at this time, in seconds since 1970.
pub fn model_store_listed(timestamp: f64) {
    counter(&catalogue::MODEL_FETCH_LISTS, ["ok".into()]).increment(1);
    gauge(&catalogue::MODEL_FETCH_LISTED, []).set(timestamp);
}

/// Blob storage could not be looked at for models.
pub fn model_store_away() {
    counter(&catalogue::MODEL_FETCH_LISTS, ["failed".into()]).increment(1);
}

/// Certificate or token keys were read again.
pub fn credential_reload(credential: &'static str, outcome: &'static str) {
    counter(&catalogue::CREDENTIAL_RELOADS, [credential.into(), outcome.into()]).increment(1);
}

/// Partitions of a batch run: planned, settled by anybody, worked on here.
pub fn batch_partitions(planned: u64, settled: u64, running: u64) {
    for (state, count) in [("planned", planned), ("settled", settled), ("running", running)] {
        gauge(&catalogue::BATCH_PARTITIONS, [state.into()]).set(count as f64);
    }
}

/// A partition was settled here: scored, or failed for a cause.
pub fn batch_settled(cause: Option<&'static str>, score: Duration) {
    counter(&catalogue::BATCH_SETTLED, [cause.unwrap_or("scored").into()]).increment(1);
    histogram(&catalogue::BATCH_SCORE_DURATION, []).record(score);
}

/// Rows of a partition that was settled here, by what became of them.
pub fn batch_rows(written: u64, quarantined: u64, failed: u64) {
    for (fate, count) in [("written", written), ("quarantined", quarantined), ("failed", failed)] {
        counter(&catalogue::BATCH_PARTITION_ROWS, [fate.into()]).increment(count);
    }
}

/// The certificate in use expires at this time, in seconds since 1970.
pub fn certificate_expiry(timestamp: i64) {
    gauge(&catalogue::TLS_EXPIRY, []).set(timestamp as f64);
}

/// A recorder with the buckets of the catalogue.
fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                .expect("the catalogue has no histogram without buckets");
        }
    }
    builder.build_recorder()
}

/// Registers the help of all metrics and sets those that never change.
fn start() {
    for Metric { name, help, kind, unit, .. } in CATALOGUE {
        match (kind, *unit) {
            (Kind::Counter, Some(unit)) => metrics::describe_counter!(*name, unit, *help),
            (Kind::Counter, None) => metrics::describe_counter!(*name, *help),
            (Kind::Gauge, Some(unit)) => metrics::describe_gauge!(*name, unit, *help),
            (Kind::Gauge, None) => metrics::describe_gauge!(*name, *help),
            (Kind::Histogram(_), Some(unit)) => metrics::describe_histogram!(*name, unit, *help),
            (Kind::Histogram(_), None) => metrics::describe_histogram!(*name, *help),
        }
    }
    let commit = build::COMMIT.unwrap_or("unknown");
    gauge(&catalogue::BUILD_INFO, [build::VERSION.into(), commit.into(), build::PROFILE.into()]).set(1.0);
    gauge(&catalogue::IN_FLIGHT, []).set(0.0);
    // From zero on, so that the first one is an increase.
    for reason in labels::rejection_reasons() {
        counter(&catalogue::REJECTED, [reason.into()]).increment(0);
    }
    for reason in labels::CUT_REASONS {
        counter(&catalogue::CONNECTIONS_CUT, [reason.into()]).increment(0);
    }
    for fate in SpanFate::ALL {
        spans(fate, 0);
    }
    for credential in ["certificate", "keys"] {
        counter(&catalogue::CREDENTIAL_RELOADS, [credential.into(), "failed".into()]).increment(0);
    }
    gauge(&catalogue::CONNECTIONS, []).set(0.0);
}

fn version((name, version): Model<'_>) -> [SharedString; 2] {
    [name.to_owned().into(), version.to_string().into()]
}

fn with(model: Model<'_>, last: impl Into<SharedString>) -> [SharedString; 3] {
    let [name, version] = version(model);
    [name, version, last.into()]
}

/// The catalogue's label names with these values.
fn labelled<const N: usize>(metric: &Metric, values: [SharedString; N]) -> Vec<Label> {
    debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
    metric.labels.iter().zip(values).map(|(&name, value)| Label::new(name, value)).collect()
}

fn counter<const N: usize>(metric: &'static Metric, values: [SharedString; N]) -> Counter {
    metrics::counter!(metric.name, labelled(metric, values))
}

fn gauge<const N: usize>(metric: &'static Metric, values: [SharedString; N]) -> Gauge {
    metrics::gauge!(metric.name, labelled(metric, values))
}

fn histogram<const N: usize>(metric: &'static Metric, values: [SharedString; N]) -> Histogram {
    metrics::histogram!(metric.name, labelled(metric, values))
}

#[cfg(test)]
mod tests;
