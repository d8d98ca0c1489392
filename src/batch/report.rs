//! The report of a run: what became of every row, what failed, where the time
//! went. It is made from the outcomes alone, so that whoever makes it makes the
//! same one.

mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::job::Errors;
use super::plan::{MissingKey, PlanHead};
use super::record::{Cause, Failure, Finding, Heartbeat, Outcome, Rows, Times};

pub use self::summary::summary;

/// How many partitions each list of a report has at most.
const LISTED: usize = 10;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Id of the run.
    pub run: String,
    /// Whether it is within the job's thresholds.
    pub within_thresholds: bool,
    /// Why it is not, one sentence each.
    pub over: Vec<String>,
    /// Partitions by what became of them.
    pub partitions: Partitions,
    /// Rows by what became of them.
    pub rows: Rows,
    /// `rows.read = rows.written + rows.quarantined + rows.failed`, of each partition
    /// and of all.
    pub conserved: bool,
    /// Keys that an input lacked and that were left out.
    pub missing_keys: u64,
    /// The first of them.
    pub missing: Vec<MissingKey>,
    /// Failed partitions by cause.
    pub failures_by_cause: BTreeMap<Cause, u64>,
    /// The first failed partitions.
    pub failures: Vec<FailedPartition>,
    /// The partitions that R took longest for.
    pub slowest: Vec<SlowPartition>,
    /// Seconds by stage, of all partitions together.
    pub times: Times,
    /// Seconds of cores.
    pub cores: Cores,
    /// Attempts whose work was not needed, because another was faster.
    pub duplicate_attempts: u64,
    /// R was asked more than once for so many partitions.
    pub tried_again: u64,
    /// Partitions that were taken over from an earlier run.
    pub reused: u64,
    /// R warnings.
    pub warnings: u64,
    /// Largest memory of one shard's processes, in bytes.
    pub memory_bytes: u64,
    /// SHA-256 of the bundle; several if it was replaced meanwhile.
    pub model_digests: Vec<String>,
    /// Bytes of outputs.
    pub output_bytes: u64,
}

/// Partitions by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Partitions {
    /// In the plan.
    pub planned: u64,
    /// With an output.
    pub scored: u64,
    /// Without one.
    pub failed: u64,
    /// Not settled.
    pub open: u64,
}

/// A partition that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedPartition {
    /// Its id.
    pub partition: String,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
}

/// A partition that took long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlowPartition {
    /// Its id.
    pub partition: String,
    /// Seconds in R.
    pub score_seconds: f64,
    /// Rows that it read.
    pub rows: u64,
    /// The shard that scored it.
    pub shard: String,
}

/// Seconds of cores: what was there, and what was used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cores {
    /// Seconds that workers spent on calls.
    pub busy_seconds: f64,
    /// Workers times the time that their shard ran.
    pub held_seconds: f64,
}

/// Collects outcomes one by one, and keeps few of them.
#[derive(Debug)]
pub struct Collector {
    report: Report,
    conserved: bool,
}

impl Collector {
    /// A report on nothing.
    pub fn new(head: &PlanHead) -> Self {
        Self {
            conserved: true,
            report: Report {
                run: head.run.clone(),
                within_thresholds: false,
                over: Vec::new(),
                partitions: Partitions { planned: head.partitions, ..Partitions::default() },
                rows: Rows::default(),
                conserved: false,
                missing_keys: head.missing_count,
                missing: head.missing.iter().take(LISTED).cloned().collect(),
                failures_by_cause: BTreeMap::new(),
                failures: Vec::new(),
                slowest: Vec::new(),
                times: Times::default(),
                cores: Cores::default(),
                duplicate_attempts: 0,
                tried_again: 0,
                reused: 0,
                warnings: 0,
                memory_bytes: 0,
                model_digests: Vec::new(),
                output_bytes: 0,
            },
        }
    }

    /// Takes in the outcome of a partition.
    pub fn add(&mut self, outcome: &Outcome) {
        let report = &mut self.report;
        self.conserved &= outcome.rows.conserved();
        report.rows.add(outcome.rows);
        report.times.add(&outcome.times);
        report.warnings += outcome.warnings;
        report.tried_again += u64::from(outcome.tries > 1);
        report.reused += u64::from(outcome.reused);
        if !report.model_digests.contains(&outcome.model_digest) {
            report.model_digests.push(outcome.model_digest.clone());
        }
        match &outcome.result {
            Finding::Scored { output } => {
                report.partitions.scored += 1;
                report.output_bytes += output.size;
            }
            Finding::Failed { failure } => {
                report.partitions.failed += 1;
                *report.failures_by_cause.entry(failure.cause).or_default() += 1;
                keep(
                    &mut report.failures,
                    FailedPartition { partition: outcome.partition.clone(), failure: failure.clone() },
                    |a, b| a.partition.cmp(&b.partition),
                );
            }
        }
        let slow = SlowPartition {
            partition: outcome.partition.clone(),
            score_seconds: outcome.times.score,
            rows: outcome.rows.read,
            shard: outcome.shard.clone(),
        };
        keep(&mut report.slowest, slow, |a, b| {
            b.score_seconds.total_cmp(&a.score_seconds).then_with(|| a.partition.cmp(&b.partition))
        });
    }

    /// The report, with what shards said of themselves.
    pub fn finish(self, heartbeats: &[Heartbeat], errors: &Errors) -> Report {
        let mut report = self.report;
        for heartbeat in heartbeats {
            report.cores.busy_seconds += heartbeat.busy_seconds;
            report.cores.held_seconds += heartbeat.held_seconds * heartbeat.workers as f64;
            report.duplicate_attempts += heartbeat.duplicates;
            report.memory_bytes = report.memory_bytes.max(heartbeat.memory_bytes);
        }
        report.model_digests.sort_unstable();
        let Partitions { planned, scored, failed, .. } = report.partitions;
        report.partitions.open = planned.saturating_sub(scored + failed);
        report.conserved = self.conserved && report.rows.conserved();
        report.over = over(&report, errors);
        report.within_thresholds = report.over.is_empty() && report.partitions.open == 0;
        report
    }
}

/// What is over a threshold, or not as it must be.
fn over(report: &Report, errors: &Errors) -> Vec<String> {
    let mut over = Vec::new();
    if !report.conserved {
        let Rows { read, written, quarantined, failed } = report.rows;
        over.push(format!(
            "rows were lost: {read} read, but {written} written, {quarantined} quarantined, {failed} failed"
        ));
    }
    let failed = report.partitions.failed;
    if failed > errors.max_failed_partitions {
        over.push(format!(
            "{failed} partitions failed, over errors.max_failed_partitions = {}",
            errors.max_failed_partitions
        ));
    }
    let scored = report.rows.read.saturating_sub(report.rows.failed);
    let rate = report.rows.quarantined as f64 / scored.max(1) as f64;
    if rate > errors.max_row_error_rate {
        over.push(format!(
            "{:.4}% of the rows were quarantined, over errors.max_row_error_rate = {}",
            rate * 100.0,
            errors.max_row_error_rate
        ));
    }
    over
}

/// Keeps the first few in an order.
fn keep<T>(list: &mut Vec<T>, item: T, order: impl Fn(&T, &T) -> std::cmp::Ordering) {
    let at = list.partition_point(|other| order(other, &item).is_lt());
    if at < LISTED {
        list.insert(at, item);
        list.truncate(LISTED);
    }
}
