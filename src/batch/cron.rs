//! A Kubernetes CronJob that runs a job on a schedule. The Job that a CronJob
//! makes is named after its fire time, and the run after the Job: when the
//! controller fires twice for one time, there is still one run.

use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;

use super::job::Job;

/// Longest name of a CronJob: Kubernetes appends 11 characters for the Job.
const MAX_NAME: usize = 52;

/// Where a pod serves its metrics.
const METRICS_PORT: u16 = 9090;

/// What a CronJob is made of.
#[derive(Debug, Clone)]
pub struct CronJob<'a> {
    /// The job file.
    pub job: &'a Job,
    /// Five fields: minute, hour, day of the month, month, day of the week.
    pub schedule: &'a str,
    /// A name of the IANA data base.
    pub time_zone: &'a str,
    /// Name of the CronJob.
    pub name: &'a str,
    /// Image with rscore, R and the model.
    pub image: &'a str,
    /// Shards, that is, pods at once.
    pub shards: u32,
    /// Secret whose keys become the pods' environment.
    pub secret: Option<&'a str>,
}

/// The manifest, and the next three fire times.
///
/// # Errors
/// Every mistake, one sentence each.
pub fn manifest(cron: &CronJob<'_>, now: &Zoned) -> Result<String, Vec<String>> {
    let mut problems = Vec::new();
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let schedule = match parser.parse(cron.schedule) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            problems
                .push(format!("'{}' is not a schedule of five fields, such as 0 6 * * MON: {error}", cron.schedule));
            None
        }
    };
    let zone = match TimeZone::get(cron.time_zone) {
        Ok(zone) => Some(zone),
        Err(_) => {
            problems.push(format!("'{}' is not a time zone, such as Europe/Berlin or Etc/UTC", cron.time_zone));
            None
        }
    };
    let good = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    let edges = |name: &str| !name.starts_with('-') && !name.ends_with('-');
    if cron.name.is_empty() || cron.name.len() > MAX_NAME || !cron.name.chars().all(good) || !edges(cron.name) {
        problems
            .push(format!("'{}' is not a name of up to {MAX_NAME} lower-case letters, digits and hyphens", cron.name));
    }
    if cron.shards == 0 {
        problems.push("there must be a shard at least".to_owned());
    }
    let (Some(schedule), Some(zone)) = (schedule, zone) else { return Err(problems) };
    let mut next = now.with_time_zone(zone);
    let mut times = Vec::new();
    for _ in 0..3 {
        match schedule.find_next_occurrence(&next, false) {
            Ok(time) => {
                times.push(time.to_string());
                next = time;
            }
            Err(_) => break,
        }
    }
    if times.is_empty() {
        problems.push(format!("'{}' never fires", cron.schedule));
    }
    if problems.is_empty() { Ok(render(cron, &times)) } else { Err(problems) }
}

/// A text as YAML has it between quotes, which is how JSON has it.
fn scalar(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn render(cron: &CronJob<'_>, times: &[String]) -> String {
    let CronJob { job, schedule, time_zone, name, image, shards, secret } = cron;
    let (schedule, time_zone, image) = (scalar(schedule), scalar(time_zone), scalar(image));
    let times: String = times.iter().map(|time| format!("# fires at {time}\n")).collect();
    let indented: String = job.text.lines().map(|line| format!("    {line}\n")).collect();
    let environment = match secret {
        Some(secret) => {
            format!(
                "              envFrom:\n                - secretRef:\n                    name: {}\n",
                scalar(secret)
            )
        }
        None => String::new(),
    };
    let grace = job.limits.stop_timeout.as_secs() + 10;
    format!(
        r#"{times}apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  job.toml: |2
{indented}---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
spec:
  schedule: {schedule}
  timeZone: {time_zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 21600
  jobTemplate:
    spec:
      completionMode: Indexed
      completions: {shards}
      parallelism: {shards}
      backoffLimitPerIndex: 3
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes:
              containerName: rscore
              operator: In
              values: [2, 10, 11, 12, 64]
          - action: Ignore
            onExitCodes:
              containerName: rscore
              operator: In
              values: [75]
          - action: Ignore
            onPodConditions:
              - type: DisruptionTarget
                status: "True"
      template:
        metadata:
          labels:
            app.kubernetes.io/component: batch
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: {grace}
          containers:
            - name: rscore
              image: {image}
              args: ["batch", "run", "/job/job.toml", "--resume", "--admin-listen", "0.0.0.0:{METRICS_PORT}"]
              ports:
                - name: operator
                  containerPort: {METRICS_PORT}
{environment}              env:
                # The name of the Job has its fire time in it, so that it names the run.
                - name: RSCORE_RUN_ID
                  valueFrom:
                    fieldRef:
                      fieldPath: metadata.labels['batch.kubernetes.io/job-name']
              volumeMounts:
                - name: job
                  mountPath: /job
                  readOnly: true
          volumes:
            - name: job
              configMap:
                name: {name}
"#
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn made(schedule: &str, time_zone: &str) -> Result<String, Vec<String>> {
        let job = Job::parse("model = \"m\"\noutput = \"out/{p}.csv\"\n[inputs]\ndata = \"in/{p}.csv\"").unwrap();
        let cron = CronJob {
            job: &job,
            schedule,
            time_zone,
            name: "weekly",
            image: "rscore:1",
            shards: 4,
            secret: Some("store"),
        };
        manifest(&cron, &"2026-03-27T12:00:00[UTC]".parse().unwrap())
    }

    #[test]
    fn the_manifest_fires_in_its_zone_and_names_the_run_after_the_fire_time() {
        let text = made("0 6 * * MON", "Europe/Berlin").unwrap();
        assert!(text.contains("schedule: \"0 6 * * MON\""), "{text}");
        // Summer time begins on Sunday the 29th.
        assert!(text.starts_with("# fires at 2026-03-30T06:00:00+02:00[Europe/Berlin]\n"), "{text}");
        for part in [
            "timeZone: \"Europe/Berlin\"",
            "concurrencyPolicy: Forbid",
            "completions: 4",
            "job-name",
            "    model = \"m\"",
            "\"--admin-listen\", \"0.0.0.0:9090\"]",
            "containerPort: 9090",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn nothing_in_a_name_or_a_job_file_changes_the_manifest() {
        let job = Job::parse("   model = \"m\"\noutput = \"out/{p}.csv\"\n[inputs]\ndata = \"in/{p}.csv\"").unwrap();
        let cron = CronJob {
            job: &job,
            schedule: "0 6 * * MON",
            time_zone: "Etc/UTC",
            name: "weekly",
            image: "rscore:1 # \"old\"",
            shards: 1,
            secret: Some("yes"),
        };
        let text = manifest(&cron, &"2026-03-27T12:00:00[UTC]".parse().unwrap()).unwrap();
        // The blanks before the first line are the file's own.
        for part in [
            "  job.toml: |2\n       model = \"m\"\n    output",
            "image: \"rscore:1 # \\\"old\\\"\"\n",
            "name: \"yes\"\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn mistakes_are_said_together() {
        let problems = made("61 6 * * MON", "Mars/Olympus").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(made("0 6 * * * MON", "Etc/UTC").is_err(), "seconds are not Kubernetes'");
    }
}
