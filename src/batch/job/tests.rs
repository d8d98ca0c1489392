//! Job files, good and bad.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::batch::template::CaptureKind;

const RETAIL: &str = r#"
model  = "models/oj-forecast/1"
output = "az://retail/forecasts/product{p}.csv"
keep   = ["sku", "store"]

[inputs]
history = "az://retail/history/product{p:int}.csv"
futurex = "az://retail/futurex/product{p}.csv"
stores  = "az://retail/stores.csv"

[partition]
missing = "quarantine"

[errors]
max_row_error_rate = 0.01
max_failed_partitions = 2

[limits]
partition_timeout = "1m"

[run]
seed = 7
"#;

#[test]
fn a_whole_job_is_read() {
    let job = Job::parse(RETAIL).unwrap();
    assert_eq!(job.output.format, Format::Csv);
    assert_eq!(job.output.keep, ["sku", "store"]);
    let names: Vec<&str> = job.inputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["history", "futurex", "stores"]);
    // The type of a capture holds for all templates.
    assert_eq!(job.inputs[1].1.captures().collect::<Vec<_>>(), [("p", Some(CaptureKind::Integer))]);
    assert_eq!(job.partition.missing, Missing::Quarantine);
    assert_eq!((job.errors.max_row_error_rate, job.errors.max_failed_partitions), (0.01, 2));
    assert_eq!(job.limits.partition_timeout, Duration::from_secs(60));
    assert_eq!(job.seed, 7);
}

#[test]
fn every_mistake_is_said_at_once_with_the_nearest_name() {
    let text = r#"
        modle = "m"
        output = "out/{q}.txt"
        [inputs]
        data = "in/{p:int}.csv"
        more = "more/{p:date}.csv"
        wrong = 3
        [errors]
        rows = "drop"
        max_row_error_rate = 2
        [limits]
        partition_time = "1m"
        memory_bytes = "much"
        [partition]
        split = "rows:none"
    "#;
    let JobError(problems) = Job::parse(text).unwrap_err();
    for part in [
        "did you mean 'model'",
        "model: is needed",
        "'out/{q}.txt' must end in",
        "{p} is both int and date",
        "inputs.wrong must be a path",
        "errors.rows: got \"drop\"",
        "errors.max_row_error_rate: got 2",
        "did you mean 'limits.partition_timeout'",
        "limits.memory_bytes",
        "partition.split: got 'rows:none'",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
    }
}

#[test]
fn the_output_has_every_capture() {
    let job = |output: &str| {
        Job::parse(&format!("model = \"m\"\noutput = \"{output}\"\n[inputs]\ndata = \"in/{{day:date}}/{{p}}.csv\""))
    };
    assert!(job("out/{day}/{p}.csv").is_ok());
    assert!(job("out/{run}/{day}-{p}.csv").is_ok());
    let error = job("out/{p}.csv").unwrap_err().to_string();
    assert!(error.contains("lacks {day}"), "{error}");
    let error = job("out/{p}-{day}-{q}.csv").unwrap_err().to_string();
    assert!(error.contains("no input has the capture {q}"), "{error}");
}

#[test]
fn durations_are_bounded() {
    let job = |limit: &str| {
        Job::parse(&format!(
            "model = \"m\"\noutput = \"out/{{p}}.csv\"\n[inputs]\ndata = \"in/{{p}}.csv\"\n[limits]\n{limit}"
        ))
    };
    for good in ["shard_timeout = \"1s\"", "partition_timeout = \"300ms\"", "stop_timeout = \"168h\""] {
        assert!(job(good).is_ok(), "{good}");
    }
    // Shorter ones round to nothing, longer ones don't fit the clock.
    for (bad, part) in [
        ("shard_timeout = \"4ns\"", "limits.shard_timeout: got \"4ns\", expected a duration from 1s"),
        ("stop_timeout = \"0s\"", "limits.stop_timeout: got \"0s\", expected a duration from 1ms"),
        ("partition_timeout = \"2562047788015215h\"", "limits.partition_timeout: got \"2562047788015215h\""),
        ("stop_timeout = \"169h\"", "limits.stop_timeout"),
    ] {
        let error = job(bad).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn splits_are_read() {
    assert_eq!(Split::parse("none"), Ok(Split::None));
    assert_eq!(Split::parse("rows:50000"), Ok(Split::Rows(50_000)));
    assert_eq!(Split::parse("group_by:sku, store"), Ok(Split::GroupBy(vec!["sku".to_owned(), "store".to_owned()])));
    assert!(Split::parse("rows:0").is_err());
    assert!(Split::parse("group_by:").is_err());
}
