//! A report as lines for people.

use std::fmt::Write;

use super::{Report, Rows, Times};

/// The report in words.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report);
    text
}

/// Writing to text can't fail, so that results are let go.
fn write(text: &mut String, report: &Report) {
    let verdict = match (report.within_thresholds, report.partitions.open) {
        (true, _) => "complete, within its thresholds",
        (false, 0) => "complete, over a threshold",
        (false, _) => "not complete",
    };
    let partitions = report.partitions;
    _ = writeln!(text, "run {}: {verdict}", report.run);
    for over in &report.over {
        _ = writeln!(text, "  {over}");
    }
    _ = writeln!(
        text,
        "partitions  {} planned = {} scored + {} failed + {} open",
        partitions.planned, partitions.scored, partitions.failed, partitions.open
    );
    let Rows { read, written, quarantined, failed } = report.rows;
    let law = if report.conserved { "every row is accounted for" } else { "ROWS ARE LOST" };
    _ = writeln!(
        text,
        "rows        {read} read = {written} written + {quarantined} quarantined + {failed} in failed partitions: {law}"
    );
    if report.missing_keys > 0 {
        _ = writeln!(text, "left out    {} keys that an input lacks", report.missing_keys);
        for key in &report.missing {
            _ = writeln!(text, "  {}: not in {}", key.partition, key.inputs.join(", "));
        }
    }
    for (cause, count) in &report.failures_by_cause {
        _ = writeln!(text, "failed      {count} with {cause}");
    }
    for failed in &report.failures {
        _ = writeln!(text, "  {}: {}", failed.partition, failed.failure.message);
    }
    let Times { fetch, decode, wait, convert, score, encode, stage } = report.times;
    _ = writeln!(
        text,
        "seconds     fetch {fetch:.1}, decode {decode:.1}, wait {wait:.1}, convert {convert:.1}, R {score:.1}, encode {encode:.1}, stage {stage:.1}"
    );
    let cores = report.cores;
    if cores.held_seconds > 0.0 {
        _ = writeln!(
            text,
            "cores       {:.1} s busy of {:.1} s held ({:.0}%)",
            cores.busy_seconds,
            cores.held_seconds,
            100.0 * cores.busy_seconds / cores.held_seconds
        );
    }
    _ = writeln!(text, "memory      {} MB at most in one shard", report.memory_bytes / 1_000_000);
    if report.reused > 0 {
        _ = writeln!(text, "reused      {} partitions of an earlier run", report.reused);
    }
    if report.duplicate_attempts + report.tried_again + report.warnings > 0 {
        _ = writeln!(
            text,
            "besides     {} attempts were not needed, {} partitions were tried again, R warned {} times",
            report.duplicate_attempts, report.tried_again, report.warnings
        );
    }
    if !report.slowest.is_empty() {
        _ = writeln!(text, "slowest");
        for slow in report.slowest.iter().take(5) {
            _ = writeln!(
                text,
                "  {}: {:.2} s in R, {} rows, shard {}",
                slow.partition, slow.score_seconds, slow.rows, slow.shard
            );
        }
    }
}
