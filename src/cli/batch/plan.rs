//! `rscore batch plan`: what would be scored. `rscore batch cron`: when.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::{CommonArguments, output, read_job, refuse};
use crate::batch::cron::{CronJob, manifest};
use crate::batch::plan::Partition;
use crate::batch::planner::{Draft, draft};
use crate::batch::sites::Opener;
use crate::config::{ProviderVariables, Settings};

/// How many partitions are listed.
const LISTED: usize = 5;

/// List the inputs of a job, join them, and say what would be scored; starts no R and writes nothing
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  rscore batch plan job.toml\n  rscore batch plan job.toml --json")]
pub struct PlanArguments {
    #[command(flatten)]
    pub(super) common: CommonArguments,
    /// One JSON object per partition
    #[arg(long)]
    json: bool,
}

/// Print a Kubernetes CronJob for a job
///
/// The fire time is the run's id, so that a doubled firing does no double work.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch cron job.toml \"0 6 * * MON\" --time-zone Europe/Berlin --image registry.example/rscore:1 | kubectl apply -f -")]
pub struct CronArguments {
    #[command(flatten)]
    pub(super) common: CommonArguments,
    /// Minute, hour, day of the month, month, day of the week
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// A name of the IANA time zone data base
    #[arg(long, value_name = "ZONE", default_value = "Etc/UTC")]
    time_zone: String,
    /// Name of the CronJob
    #[arg(long, value_name = "NAME", default_value = "rscore-batch")]
    name: String,
    /// Image with rscore, R and the model
    #[arg(long, value_name = "IMAGE", default_value = "rscore")]
    image: String,
    /// Shards, that is, pods at once
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    shards: u32,
    /// Secret whose keys become the pods' environment, for the store's credentials
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
}

/// `rscore batch plan`
pub fn plan(arguments: &PlanArguments, settings: &Settings) -> ExitCode {
    let job = match read_job(&arguments.common.job) {
        Ok(job) => job,
        Err(code) => return code,
    };
    let opener = Opener { settings: settings.store.clone(), variables: ProviderVariables::from_process() };
    let sites = match opener.sites(&job) {
        Ok(sites) => sites,
        Err(problems) => return refuse(&problems.join("\n")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("the runtime can't be started: {error}")),
    };
    match runtime.block_on(draft(&job, &sites, "plan", None)) {
        Ok(draft) if arguments.json => {
            let lines: String = draft
                .partitions
                .iter()
                .filter_map(|partition| Some(serde_json::to_string(partition).ok()? + "\n"))
                .collect();
            output::print(&lines)
        }
        Ok(draft) => output::print(&words(&draft)),
        Err(error) => refuse(&error),
    }
}

fn words(draft: &Draft) -> String {
    let Draft { head, partitions, unmatched, .. } = draft;
    let mut text = String::new();
    // Writing to text can't fail.
    _ = writeln!(text, "{} partitions, {} bytes", head.partitions, head.bytes);
    for (name, source) in &head.broadcast {
        _ = writeln!(text, "for all     {name}: {}, {} bytes", source.path, source.size);
    }
    if head.missing_count > 0 {
        _ = writeln!(text, "left out    {} keys that an input lacks", head.missing_count);
        for key in &head.missing {
            _ = writeln!(text, "  {}: not in {}", key.partition, key.inputs.join(", "));
        }
    }
    for beside in unmatched {
        _ = writeln!(text, "left out    {beside}");
    }
    _ = writeln!(text, "largest");
    for partition in partitions.iter().take(LISTED) {
        let Partition { id, inputs, output } = partition;
        let inputs: Vec<&str> = inputs.iter().map(|(_, source)| source.path.as_str()).collect();
        _ = writeln!(text, "  {id}: {} -> {output}, {} bytes", inputs.join(" + "), partition.bytes());
    }
    text
}

/// `rscore batch cron`
pub fn cron(arguments: &CronArguments) -> ExitCode {
    let job = match read_job(&arguments.common.job) {
        Ok(job) => job,
        Err(code) => return code,
    };
    let cron = CronJob {
        job: &job,
        schedule: &arguments.schedule,
        time_zone: &arguments.time_zone,
        name: &arguments.name,
        image: &arguments.image,
        shards: arguments.shards,
        secret: arguments.secret.as_deref(),
    };
    match manifest(&cron, &jiff::Zoned::now()) {
        Ok(text) => output::print(&text),
        Err(problems) => refuse(&problems.join("\n")),
    }
}
