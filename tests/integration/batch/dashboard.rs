//! The dashboard for batch runs asks for what a run that works exports.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::Value;

use super::{UNTRIED, describe, job};
use crate::support::eventually;
use crate::support::gate::Gate;

const DASHBOARD: &str = include_str!("../../../k8s/components/monitoring/dashboards/rscore-batch.json");

/// Names of the metrics that all queries of the dashboard ask for, without the suffixes
/// of histograms.
fn asked_for() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let name = Regex::new(r"\brscore_[a-z0-9_]+").expect("a pattern");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let lists = variables.iter().filter_map(|variable| variable["query"]["query"].as_str());
    queries
        .chain(lists)
        .flat_map(|query| name.find_iter(query).map(|found| found.as_str()).collect::<Vec<_>>())
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_what_a_working_run_exports() {
    let mut gate = Gate::new();
    // One partition is scored and one ends its worker, while another holds the second worker.
    let script = format!(
        "{}score <- function(model, data) {{
           if (data$x[1] < 1000) quit('no', status = 3)
           if (data$x[1] >= 2000) gate()
           2 * data$x
         }}",
        gate.script()
    );
    let job = job(&script, UNTRIED, 3, 4);
    describe(&job, "[errors]\nmax_failed_partitions = 1\n");
    let shard = job.start(&["--run-id", "r", "--workers", "2", "--admin-listen", "127.0.0.1:0"]);
    gate.begun().await;
    let wanted = asked_for();
    assert!(wanted.len() >= 7, "{wanted:?}");
    let metrics = eventually("a scored partition and a lost worker in the metrics", || async {
        let metrics = shard.metrics().await;
        let both = ["rscore_batch_partitions{state=\"settled\"} 1", "rscore_worker_deaths_total{"];
        both.iter().all(|part| metrics.contains(part)).then_some(metrics)
    })
    .await;
    let exported: BTreeSet<String> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let missing: Vec<&String> = wanted.difference(&exported).collect();
    assert!(missing.is_empty(), "{missing:?} in\n{metrics}");
    gate.open().await;
    shard.ended().await;
}
