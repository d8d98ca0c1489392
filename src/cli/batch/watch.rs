//! `rscore batch status`, `logs`, `report`, `cancel` and `retry`: from any
//! machine that reaches the store, while the run goes on or afterwards.

use std::fmt::Write;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::target::TargetArguments;
use super::{OVER_THRESHOLD, output, refuse};
use crate::batch::operate::{RunState, Status, Watched};
use crate::batch::report::summary;
use crate::config::Settings;

/// Time between two looks at a run that is followed.
const INTERVAL: Duration = Duration::from_secs(2);

/// Say how far a run is and what its shards are doing
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch status job.toml\n  \
    rscore batch status az://retail/forecasts/_rscore/runs/monday --follow")]
pub struct StatusArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// Look again every two seconds until all is settled
    #[arg(long)]
    follow: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Show what R said about partitions
///
/// Without --partition, lists the partitions that have a log, with bytes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch logs job.toml\n  \
    rscore batch logs job.toml --partition p=17 --follow")]
pub struct LogsArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// Id of the partition
    #[arg(long, value_name = "P")]
    partition: Option<String>,
    /// Go on until the partition is settled
    #[arg(long, requires = "partition")]
    follow: bool,
}

/// Report on a run: rows in and out, failures, where the time went
///
/// Ends with code 11 when a complete run is over a threshold.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  rscore batch report job.toml\n  rscore batch report job.toml --json")]
pub struct ReportArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Ask all shards of a run to stop for good
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  rscore batch cancel job.toml --run-id monday")]
pub struct CancelArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
}

/// Have failed partitions tried again by the next `rscore batch run --resume`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch retry job.toml --run-id monday\n  \
    rscore batch run job.toml --run-id monday --resume")]
pub struct RetryArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// This one alone
    #[arg(long, value_name = "P")]
    partition: Option<String>,
}

/// Runs a verb on the run that it is about.
fn on_run<F>(target: &TargetArguments, settings: &Settings, verb: impl FnOnce(Watched) -> F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, crate::batch::objects::StoreTrouble>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("the runtime can't be started: {error}")),
    };
    runtime.block_on(async {
        match target.open(settings).await {
            Ok(watched) => verb(watched).await.unwrap_or_else(|trouble| refuse(&trouble)),
            Err(code) => code,
        }
    })
}

/// `rscore batch status`
pub fn status(arguments: &StatusArguments, settings: &Settings) -> ExitCode {
    on_run(&arguments.target, settings, |run| async move {
        loop {
            let status = run.status().await?;
            let text = match arguments.json {
                true => serde_json::to_string(&status).unwrap_or_default() + "\n",
                false => words(&status),
            };
            let code = output::print(&text);
            if !arguments.follow || status.state != RunState::Open {
                return Ok(code);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

fn words(status: &Status) -> String {
    let state = match status.state {
        RunState::Open => "open",
        RunState::Cancelled => "cancelled",
        RunState::Succeeded => "succeeded",
        RunState::Complete => "complete, over a threshold or not yet reported",
    };
    let mut text = String::new();
    // Writing to text can't fail.
    _ = writeln!(
        text,
        "run {}: {state}, {} of {} partitions settled ({:.1}%), begun {}",
        status.run,
        status.settled,
        status.partitions,
        100.0 * status.settled as f64 / status.partitions.max(1) as f64,
        status.created
    );
    for shard in &status.shards {
        let running = if shard.running.is_empty() { "nothing".to_owned() } else { shard.running.join(" ") };
        _ = writeln!(
            text,
            "  shard {} on {}: {:?}, {} settled, {:.0} of {:.0} core seconds busy, {} MB, at {running}",
            shard.shard,
            shard.host,
            shard.state,
            shard.settled,
            shard.busy_seconds,
            shard.held_seconds * shard.workers as f64,
            shard.memory_bytes / 1_000_000,
        );
    }
    text
}

/// `rscore batch logs`
pub fn logs(arguments: &LogsArguments, settings: &Settings) -> ExitCode {
    on_run(&arguments.target, settings, |run| async move {
        let Some(partition) = &arguments.partition else {
            let logs = run.logs().await?;
            let lines: String = logs.iter().map(|(partition, size)| format!("{size:>10}  {partition}\n")).collect();
            return Ok(output::print(&lines));
        };
        let mut shown = Vec::new();
        loop {
            // Settled first, so that what is read afterwards is all there is.
            let settled = !arguments.follow || run.is_settled(partition).await?;
            let log = run.log(partition).await?.unwrap_or_default();
            // A log grows, or is written anew by another attempt.
            let news = log.strip_prefix(shown.as_slice()).unwrap_or(&log);
            let code = output::print(&String::from_utf8_lossy(news));
            shown = log.to_vec();
            if settled {
                return Ok(code);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

/// `rscore batch report`
pub fn report(arguments: &ReportArguments, settings: &Settings) -> ExitCode {
    on_run(&arguments.target, settings, |run| async move {
        let report = run.report().await?;
        let text = match arguments.json {
            true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
            false => summary(&report),
        };
        let code = output::print(&text);
        let over = report.partitions.open == 0 && !report.within_thresholds;
        Ok(if over { ExitCode::from(OVER_THRESHOLD) } else { code })
    })
}

/// `rscore batch cancel`
pub fn cancel(arguments: &CancelArguments, settings: &Settings) -> ExitCode {
    on_run(&arguments.target, settings, |run| async move {
        run.cancel().await?;
        Ok(output::print(&format!("run {} is cancelled; its shards stop with their next heartbeat\n", run.head.run)))
    })
}

/// `rscore batch retry`
pub fn retry(arguments: &RetryArguments, settings: &Settings) -> ExitCode {
    on_run(&arguments.target, settings, |run| async move {
        let partitions = run.retry(arguments.partition.as_deref()).await?;
        let text = match partitions.as_slice() {
            [] => "no partition has failed\n".to_owned(),
            some => format!(
                "{} partitions are tried again by: rscore batch run ... --run-id {} --resume\n  {}\n",
                some.len(),
                run.head.run,
                some.join("\n  ")
            ),
        };
        Ok(output::print(&text))
    })
}
