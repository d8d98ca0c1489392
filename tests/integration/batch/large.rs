//! Files of a million rows: one bad row is set aside and no other, within the
//! memory of a control group where the machine lets one be made.

use std::fmt::Write;

use serde_json::Value;

use super::{X, describe, job};
use crate::support::group::Group;
use crate::support::job::Job;

const ROWS: usize = 1_000_000;

/// Where the bad row is.
const BAD: usize = 765_432;

/// Scores a million rows of which one is written as `bad`; gives what was said.
async fn score(script: &str, bad: &str) -> Job {
    let group = Group::new("memory", &[("memory.limit_in_bytes", "1000000000")]);
    let mut job = job(script, X, 1, 1);
    if let Some(group) = &group {
        job = job.within(group);
    }
    let mut text = String::from("x\n");
    for row in 0..ROWS {
        match row {
            BAD => text.push_str(bad),
            _ => write!(text, "{row}").unwrap(),
        }
        text.push('\n');
    }
    job.write("in/0.csv", &text);
    describe(&job, "[errors]\nmax_row_error_rate = 0.000001\n");
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1000000 read = 999999 written + 1 quarantined"), "{said}");
    let output = job.read("out/0.csv");
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("x,prediction"));
    for row in (0..ROWS).filter(|row| *row != BAD) {
        let line = lines.next().unwrap_or_else(|| panic!("row {row} is missing"));
        let (x, prediction) = line.split_once(',').unwrap();
        assert_eq!((x.parse(), prediction.parse()), (Ok(row as f64), Ok(2.0 * row as f64)));
    }
    assert_eq!(lines.next(), None);
    job
}

/// The only row that was set aside.
fn reason(job: &Job, raw: &str) -> Value {
    let reasons = job.read("out/_rscore/runs/r/quarantine/p=0.reasons.jsonl");
    let reason: Value = serde_json::from_str(&reasons).expect("one line");
    assert_eq!((&reason["row"], &reason["raw"]), (&BAD.into(), &raw.into()));
    assert_eq!(job.read("out/_rscore/runs/r/quarantine/p=0.rows.csv"), format!("x\n{raw}\n"));
    reason
}

#[tokio::test]
async fn one_row_in_a_million_that_can_not_be_read() {
    let raw = "\"not a\nnumber\"";
    let job = score("score <- function(model, data) data$x * 2", raw).await;
    let reason = reason(&job, raw);
    assert_eq!(reason["stage"], "parse");
    assert_eq!((&reason["cells"][0]["column"], &reason["cells"][0]["expected"]), (&"x".into(), &"a number".into()));
}

#[tokio::test]
async fn one_row_in_a_million_that_r_refuses() {
    let job =
        score("score <- function(model, data) { if (any(data$x < 0)) stop('below zero'); data$x * 2 }", "-7").await;
    let reason = reason(&job, "-7");
    assert_eq!((&reason["stage"], &reason["message"]), (&"score".into(), &"below zero".into()));
}
