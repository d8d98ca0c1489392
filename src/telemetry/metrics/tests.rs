//! What is scraped after everything was measured once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The text after all functions were called, on a recorder of the test's own.
fn scraped() -> String {
    let recorder = recorder();
    let boston = ("boston", 3);
    metrics::with_local_recorder(&recorder, || {
        start();
        request("native", Some(boston), 200, Duration::from_millis(2));
        request("native", None, 404, Duration::from_millis(1));
        stage(Stage::Score, boston, Duration::from_micros(1700));
        in_flight(1.0);
        connection_cut("head");
        rejected("queue_full");
        auth_failure("expired");
        batch(boston, 17);
        queue(boston, 5, 80, Duration::from_millis(3));
        row_independence_failed(boston);
        workers(boston, WorkerState::Idle, 2);
        worker_started(boston, StartReason::Initial);
        worker_died(boston, DeathReason::Crashed);
        worker_rss(boston, 98_000_000);
        worker_pss(boston, 12_000_000);
        zygote(boston, true, false);
        zygote_died(boston, ZygoteDeath::Hung);
        zygote_start_failed(boston);
        quarantine(boston, 1);
        quarantined(boston);
        output_suppressed(boston);
        spans(SpanFate::Exported, 5);
        model_loaded(boston, "abc", Duration::from_millis(72));
        model_unloaded(("old \"one\"\n", 1), "def");
        model_state(boston, "ready", true);
        generation(boston, 2);
        reload(boston, "loaded");
        model_fetched(boston, Duration::from_millis(900));
        model_fetch_failed(boston);
        model_fetch_bytes(1_000);
        model_store_listed(1_800_000_000.5);
        model_store_away();
        credential_reload("certificate", "loaded");
        certificate_expiry(1_800_000_000);
        batch_partitions(90, 17, 3);
        batch_settled(None, Duration::from_secs(4));
        batch_rows(100, 1, 0);
    });
    recorder.handle().render()
}

/// A line of the text format that is not a comment: name, labels, value.
fn sample(line: &str) -> (&str, BTreeMap<&str, &str>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("a closing brace")),
        None => (series, ""),
    };
    let labels = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once("=\"").expect("a quoted value");
        (label, value.trim_end_matches('"'))
    });
    (name, labels.collect(), value.parse().expect("a number"))
}

/// The metric that a sample belongs to.
fn metric_of(name: &str) -> &'static Metric {
    let of_histogram = |metric: &Metric| {
        let suffix = name.strip_prefix(metric.name);
        matches!(metric.kind, Kind::Histogram(_)) && matches!(suffix, Some("_bucket" | "_sum" | "_count"))
    };
    CATALOGUE
        .iter()
        .find(|metric| metric.name == name || of_histogram(metric))
        .unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

#[test]
fn every_metric_is_scraped_with_its_help_type_and_labels() {
    let text = scraped();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, mut labels, _) = sample(line);
        let metric = metric_of(name);
        if name.ends_with("_bucket") {
            labels.remove("le").expect("a bound");
        }
        let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
        assert_eq!(labels.into_keys().collect::<BTreeSet<_>>(), expected, "{line}");
        seen.insert(metric.name);
    }
    for metric in CATALOGUE {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert!(seen.contains(metric.name), "{} was never measured", metric.name);
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
    }
}

#[test]
fn values_end_up_where_they_belong() {
    let text = scraped();
    let value = |wanted: &str| {
        let line = text.lines().find(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{wanted}\n{text}"));
        sample(line).2
    };
    assert_eq!(value("rscore_requests_total{model=\"boston\",version=\"3\",door=\"native\",code=\"200\"}"), 1.0);
    assert_eq!(value("rscore_requests_total{model=\"\",version=\"\",door=\"native\",code=\"404\"}"), 1.0);
    assert_eq!(value("rscore_stage_duration_seconds_bucket{model=\"boston\",stage=\"score\",le=\"0.001\"}"), 0.0);
    assert_eq!(value("rscore_stage_duration_seconds_bucket{model=\"boston\",stage=\"score\",le=\"0.0025\"}"), 1.0);
    assert_eq!(value("rscore_batch_rows_bucket{model=\"boston\",version=\"3\",le=\"16\"}"), 0.0);
    assert_eq!(value("rscore_batch_rows_bucket{model=\"boston\",version=\"3\",le=\"32\"}"), 1.0);
    assert_eq!(value("rscore_batch_rows_sum{"), 17.0);
    assert_eq!(value("rscore_workers{model=\"boston\",version=\"3\",state=\"idle\"}"), 2.0);
    assert_eq!(value("rscore_worker_rss_bytes{"), 98e6);
    assert_eq!(value("rscore_worker_pss_bytes{"), 12e6);
    assert_eq!(value("rscore_model_load_seconds{"), 0.072);
    assert_eq!(value("rscore_model_info{model=\"boston\",version=\"3\",digest=\"abc\"}"), 1.0);
    assert_eq!(value("rscore_model_info{model=\"old \\\"one\\\"\\n\",version=\"1\",digest=\"def\"}"), 0.0);
    assert_eq!(value("rscore_tls_certificate_expiry_timestamp_seconds"), 1.8e9);
    assert_eq!(value("rscore_in_flight_requests"), 1.0);
    assert_eq!(value("rscore_batch_partitions{state=\"settled\"}"), 17.0);
    assert_eq!(value("rscore_batch_partition_rows_total{fate=\"quarantined\"}"), 1.0);
}

#[test]
fn installing_again_gives_the_same_counts() {
    let before = install();
    rejected("installed_twice");
    let after = install();
    assert!(std::ptr::eq(before, after));
    upkeep();
    assert!(render().contains("rscore_rejected_total{reason=\"installed_twice\"} 1"), "{}", render());
    assert!(render().contains("rscore_build_info{"));
}

#[test]
fn what_may_go_wrong_begins_at_zero() {
    let text = scraped();
    for zero in [
        "rscore_rejected_total{reason=\"draining\"} 0",
        "rscore_worker_deaths_total{model=\"boston\",version=\"3\",reason=\"memory\"} 0",
        "rscore_reloads_total{model=\"boston\",version=\"3\",outcome=\"failed\"} 0",
        "rscore_credential_reloads_total{credential=\"keys\",outcome=\"failed\"} 0",
    ] {
        assert!(text.lines().any(|line| line == zero), "{zero} is not in\n{text}");
    }
}
