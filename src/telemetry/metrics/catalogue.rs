//! Every metric: its name, what it counts, its unit and its labels. Names are
//! written here and nowhere else; a test keeps them to the conventions of
//! Prometheus ("Metric and label naming": base units, the unit as a suffix,
//! `_total` for counters).

use metrics::Unit;

/// Prefix of every name.
pub const PREFIX: &str = "rscore_";

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Name with prefix.
    pub name: &'static str,
    /// What is measured, as one sentence.
    pub help: &'static str,
    /// How values behave.
    pub kind: Kind,
    /// Unit, where values have one.
    pub unit: Option<Unit>,
    /// Names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
}

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, counted in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds for durations of requests and their stages, in seconds: from
/// less than a cheap model takes to the default timeout.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds for whole partitions, in seconds.
const LONG_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Upper bounds for rows of a batch.
const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, help, kind, unit, labels }
}

pub(super) static REQUESTS: Metric = metric(
    "rscore_requests_total",
    Kind::Counter,
    None,
    &["model", "version", "door", "code"],
    "Requests that were answered, by HTTP status; model and version are empty when none was found.",
);
pub(super) static REQUEST_DURATION: Metric = metric(
    "rscore_request_duration_seconds",
    Kind::Histogram(SECONDS),
    Some(Unit::Seconds),
    &["model", "door"],
    "Time from the head of a request to the end of its answer.",
);
pub(super) static STAGE_DURATION: Metric = metric(
    "rscore_stage_duration_seconds",
    Kind::Histogram(SECONDS),
    Some(Unit::Seconds),
    &["model", "stage"],
    "Time that a request spent in one stage.",
);
pub(super) static IN_FLIGHT: Metric =
    metric("rscore_in_flight_requests", Kind::Gauge, None, &[], "Requests that were begun and are not yet answered.");
pub(super) static CONNECTIONS: Metric =
    metric("rscore_connections", Kind::Gauge, None, &[], "Connections of callers that are open.");
pub(super) static CONNECTIONS_CUT: Metric = metric(
    "rscore_connections_cut_total",
    Kind::Counter,
    None,
    &["reason"],
    "Connections that were closed because the caller did not do its part.",
);
pub(super) static REJECTED: Metric = metric(
    "rscore_rejected_total",
    Kind::Counter,
    None,
    &["reason"],
    "Requests that were turned away before any work was done for them.",
);
pub(super) static AUTH_FAILURES: Metric = metric(
    "rscore_auth_failures_total",
    Kind::Counter,
    None,
    &["reason"],
    "Requests without a token that allows them.",
);
pub(super) static BATCH_ROWS: Metric = metric(
    "rscore_batch_rows",
    Kind::Histogram(ROWS),
    None,
    &["model", "version"],
    "Rows that were scored by one call of R.",
);
pub(super) static QUEUE_ROWS: Metric =
    metric("rscore_queue_rows", Kind::Gauge, None, &["model", "version"], "Rows that wait for a worker.");
pub(super) static QUEUE_BYTES: Metric = metric(
    "rscore_queue_bytes",
    Kind::Gauge,
    Some(Unit::Bytes),
    &["model", "version"],
    "Memory of the rows that wait for a worker.",
);
pub(super) static QUEUE_AGE: Metric = metric(
    "rscore_queue_age_seconds",
    Kind::Gauge,
    Some(Unit::Seconds),
    &["model", "version"],
    "How long the request that waits the longest has waited.",
);
pub(super) static INDEPENDENCE_FAILURES: Metric = metric(
    "rscore_row_independence_failures_total",
    Kind::Counter,
    None,
    &["model", "version"],
    "Audits that found rows to depend on each other; requests of the version are no longer joined.",
);
pub(super) static WORKERS: Metric =
    metric("rscore_workers", Kind::Gauge, None, &["model", "version", "state"], "Worker processes by state.");
pub(super) static WORKER_STARTS: Metric = metric(
    "rscore_worker_starts_total",
    Kind::Counter,
    None,
    &["model", "version", "reason"],
    "Worker processes that were started.",
);
pub(super) static WORKER_DEATHS: Metric = metric(
    "rscore_worker_deaths_total",
    Kind::Counter,
    None,
    &["model", "version", "reason"],
    "Worker processes that ended.",
);
pub(super) static WORKER_RSS: Metric = metric(
    "rscore_worker_rss_bytes",
    Kind::Gauge,
    Some(Unit::Bytes),
    &["model", "version"],
    "Resident memory of all workers of a version; pages that they share count for each.",
);
pub(super) static WORKER_PSS: Metric = metric(
    "rscore_worker_pss_bytes",
    Kind::Gauge,
    Some(Unit::Bytes),
    &["model", "version"],
    "Memory of all workers of a version; a page that several share counts in parts.",
);
pub(super) static ZYGOTE_UP: Metric = metric(
    "rscore_zygote_up",
    Kind::Gauge,
    None,
    &["model", "version"],
    "1 while the process that forks the workers of a version is there, 0 while it is being replaced.",
);
pub(super) static ZYGOTE_BREAKER_OPEN: Metric = metric(
    "rscore_zygote_breaker_open",
    Kind::Gauge,
    None,
    &["model", "version"],
    "1 while that process can't be started again and is tried now and then, else 0.",
);
pub(super) static ZYGOTE_DEATHS: Metric = metric(
    "rscore_zygote_deaths_total",
    Kind::Counter,
    None,
    &["model", "version", "reason"],
    "Processes that fork workers and ended while they were needed.",
);
pub(super) static ZYGOTE_START_FAILURES: Metric = metric(
    "rscore_zygote_start_failures_total",
    Kind::Counter,
    None,
    &["model", "version"],
    "Attempts to replace such a process that failed.",
);
pub(super) static QUARANTINE_ENTRIES: Metric = metric(
    "rscore_quarantine_entries",
    Kind::Gauge,
    None,
    &["model", "version"],
    "Requests that ended two workers and are refused for a while.",
);
pub(super) static QUARANTINED: Metric = metric(
    "rscore_quarantined_total",
    Kind::Counter,
    None,
    &["model", "version"],
    "Requests that were refused because the same one had ended two workers.",
);
pub(super) static OUTPUT_SUPPRESSED: Metric = metric(
    "rscore_output_suppressed_lines_total",
    Kind::Counter,
    None,
    &["model", "version"],
    "Lines that R printed and that were left out of the log, since there were too many.",
);
pub(super) static TRACE_SPANS: Metric = metric(
    "rscore_trace_spans_total",
    Kind::Counter,
    None,
    &["outcome"],
    "Spans of traces, by what became of them: exported, failed (the collector did not take them), dropped (too many waited).",
);
pub(super) static MODEL_LOAD: Metric = metric(
    "rscore_model_load_seconds",
    Kind::Gauge,
    Some(Unit::Seconds),
    &["model", "version"],
    "Time that the last load of a version took.",
);
pub(super) static MODEL_INFO: Metric = metric(
    "rscore_model_info",
    Kind::Gauge,
    None,
    &["model", "version", "digest"],
    "1 for a version that is loaded, with the SHA-256 of its bundle; 0 for one that was.",
);
pub(super) static MODEL_STATE: Metric = metric(
    "rscore_model_state",
    Kind::Gauge,
    None,
    &["model", "version", "state"],
    "1 for the state that a version is in, 0 for the others, and for all when it is gone.",
);
pub(super) static GENERATION: Metric = metric(
    "rscore_model_generation",
    Kind::Gauge,
    None,
    &["model", "version"],
    "Number of the generation that serves a version, counted from 1; 0 when the version is gone.",
);
pub(super) static RELOADS: Metric = metric(
    "rscore_reloads_total",
    Kind::Counter,
    None,
    &["model", "version", "outcome"],
    "Attempts to load a version, the first one included, and removals.",
);
pub(super) static MODEL_FETCHES: Metric = metric(
    "rscore_model_fetches_total",
    Kind::Counter,
    None,
    &["model", "version", "outcome"],
    "Attempts to fetch a version from blob storage.",
);
pub(super) static MODEL_FETCH: Metric = metric(
    "rscore_model_fetch_seconds",
    Kind::Gauge,
    Some(Unit::Seconds),
    &["model", "version"],
    "Time that the last fetch of a version from blob storage took.",
);
pub(super) static MODEL_FETCH_BYTES: Metric =
    metric("rscore_model_fetch_bytes_total", Kind::Counter, None, &[], "Bytes of models that came from blob storage.");
pub(super) static MODEL_FETCH_LISTS: Metric = metric(
    "rscore_model_fetch_lists_total",
    Kind::Counter,
    None,
    &["outcome"],
    "Looks at blob storage for new and changed models.",
);
pub(super) static MODEL_FETCH_LISTED: Metric = metric(
    "rscore_model_fetch_last_success_timestamp_seconds",
    Kind::Gauge,
    Some(Unit::Seconds),
    &[],
    "When blob storage was last looked at with success, in seconds since 1970.",
);
pub(super) static CREDENTIAL_RELOADS: Metric = metric(
    "rscore_credential_reloads_total",
    Kind::Counter,
    None,
    &["credential", "outcome"],
    "Attempts to read certificate or token keys again.",
);
pub(super) static BATCH_PARTITIONS: Metric = metric(
    "rscore_batch_partitions",
    Kind::Gauge,
    None,
    &["state"],
    "Partitions of the batch run: planned, settled by any shard, running in this one.",
);
pub(super) static BATCH_SETTLED: Metric = metric(
    "rscore_batch_partitions_settled_total",
    Kind::Counter,
    None,
    &["result"],
    "Partitions that this shard settled: scored, or the cause of the failure.",
);
pub(super) static BATCH_PARTITION_ROWS: Metric = metric(
    "rscore_batch_partition_rows_total",
    Kind::Counter,
    None,
    &["fate"],
    "Rows of partitions that this shard settled, by what became of them.",
);
pub(super) static BATCH_SCORE_DURATION: Metric = metric(
    "rscore_batch_score_duration_seconds",
    Kind::Histogram(LONG_SECONDS),
    Some(Unit::Seconds),
    &[],
    "Time that a partition spent inside R.",
);
pub(super) static TLS_EXPIRY: Metric = metric(
    "rscore_tls_certificate_expiry_timestamp_seconds",
    Kind::Gauge,
    Some(Unit::Seconds),
    &[],
    "When the server's certificate expires, in seconds since 1970.",
);
pub(super) static BUILD_INFO: Metric = metric(
    "rscore_build_info",
    Kind::Gauge,
    None,
    &["version", "commit", "profile"],
    "Always 1; the labels say which build this is.",
);

/// All metrics.
pub static CATALOGUE: &[&Metric] = &[
    &REQUESTS,
    &REQUEST_DURATION,
    &STAGE_DURATION,
    &IN_FLIGHT,
    &CONNECTIONS,
    &CONNECTIONS_CUT,
    &REJECTED,
    &AUTH_FAILURES,
    &BATCH_ROWS,
    &QUEUE_ROWS,
    &QUEUE_BYTES,
    &QUEUE_AGE,
    &INDEPENDENCE_FAILURES,
    &WORKERS,
    &WORKER_STARTS,
    &WORKER_DEATHS,
    &WORKER_RSS,
    &WORKER_PSS,
    &ZYGOTE_UP,
    &ZYGOTE_BREAKER_OPEN,
    &ZYGOTE_DEATHS,
    &ZYGOTE_START_FAILURES,
    &QUARANTINE_ENTRIES,
    &QUARANTINED,
    &OUTPUT_SUPPRESSED,
    &TRACE_SPANS,
    &MODEL_LOAD,
    &MODEL_INFO,
    &MODEL_STATE,
    &GENERATION,
    &RELOADS,
    &MODEL_FETCHES,
    &MODEL_FETCH,
    &MODEL_FETCH_BYTES,
    &MODEL_FETCH_LISTS,
    &MODEL_FETCH_LISTED,
    &CREDENTIAL_RELOADS,
    &BATCH_PARTITIONS,
    &BATCH_SETTLED,
    &BATCH_PARTITION_ROWS,
    &BATCH_SCORE_DURATION,
    &TLS_EXPIRY,
    &BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in CATALOGUE {
            let name = metric.name;
            assert!(name.starts_with(PREFIX), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), metric.unit == Some(Unit::Seconds), "{name}");
            assert_eq!(name.ends_with("_bytes"), metric.unit == Some(Unit::Bytes), "{name}");
            assert!(metric.help.ends_with('.') && metric.help.len() > 20, "{name}");
        }
        let names: HashSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len(), "a name is used twice");
    }

    #[test]
    fn the_page_for_operators_lists_every_metric() {
        let page = include_str!("../../../docs/operations.md");
        for Metric { name, help, kind, labels, .. } in CATALOGUE {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "));
            assert!(page.lines().any(|line| line == row), "docs/operations.md lacks the row\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `rscore_")).count();
        assert_eq!(rows, CATALOGUE.len(), "docs/operations.md has a row of a metric that is gone");
    }

    #[test]
    fn buckets_ascend() {
        for metric in CATALOGUE {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(!bounds.is_empty() && bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
