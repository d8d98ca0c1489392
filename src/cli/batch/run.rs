//! `rscore batch run`: takes part in a run until it is complete.

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::progress::{Shown, Style};
use super::{CANCELLED, CommonArguments, OVER_THRESHOLD, RUN_AGAIN, flag_help, output, read_job, refuse};
use crate::batch::report::summary;
use crate::batch::run::shard::Identity;
use crate::batch::run::stop::{Stop, Stopper, stop};
use crate::batch::session::{Finished, Order, take_part};
use crate::batch::sites::Opener;
use crate::config::{EngineVariables, ProviderVariables, Settings, worker_environment};
use crate::http;
use crate::lifecycle::Background;
use crate::pool::{Sizing, Upkeep, orphans};
use crate::scoring::load::LoadContext;
use crate::scoring::slots::ScoringSlots;
use crate::telemetry::metrics;

/// Score the job's partitions; several processes with one run id share the work
///
/// A shard is told by --shard, or by JOB_COMPLETION_INDEX (Kubernetes), SLURM_ARRAY_TASK_ID (Slurm) or
/// AWS_BATCH_JOB_ARRAY_INDEX (AWS Batch).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore batch run job.toml\n  \
    rscore batch run job.toml --run-id 2026-11-23 --shard 0/4\n  \
    rscore batch run job.toml --run-id 2026-11-23 --resume --progress json")]
pub struct RunArguments {
    #[command(flatten)]
    pub(super) common: CommonArguments,
    /// Id of the run; the engine's job id or a new one when it is not given [environment: RSCORE_RUN_ID]
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Which shard this is, as i/N with i from 0
    #[arg(long, value_name = "auto|I/N", default_value = "auto")]
    shard: String,
    /// Go on with a run that exists
    #[arg(long)]
    resume: bool,
    /// Take over the results of an earlier run for partitions whose inputs, model and job have not changed
    #[arg(long, value_name = "ID")]
    reuse: Option<String>,
    #[arg(long, value_name = "COUNT", help = flag_help("workers.count"))]
    pub(super) workers: Option<String>,
    /// Serve metrics and liveness at this address while the run goes on; not served when it is not given
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<String>,
    /// How progress is shown: a bar on a terminal and lines elsewhere, lines, or a JSON object per second
    #[arg(long, value_name = "STYLE", default_value = "auto")]
    progress: Style,
}

/// Runs a job.
pub fn run(arguments: &RunArguments, settings: Settings) -> ExitCode {
    let job = match read_job(&arguments.common.job) {
        Ok(job) => job,
        Err(code) => return code,
    };
    let engine = EngineVariables::from_process();
    let identity = match identity(&arguments.shard, &engine) {
        Ok(identity) => identity,
        Err(problem) => return refuse(&problem),
    };
    let run = match run_id(arguments, &engine) {
        Ok(run) => run,
        Err(problem) => return refuse(&problem),
    };
    let folder = match tempfile::Builder::new().prefix("rscore-batch-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return again(&format!("no temporary folder: {error}")),
    };
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => return again(&error),
    };
    let operator = match arguments.admin_listen.is_some().then(|| TcpListener::bind(settings.server.admin_listen)) {
        None => None,
        Some(Ok(listener)) => Some(listener),
        Some(Err(error)) => return refuse(&format!("--admin-listen: {error}")),
    };
    let sizing = Sizing::of_a_batch_run(&settings.workers);
    let workers = sizing.workers;
    let background = Background::new();
    let order = Order {
        job,
        run: run.clone(),
        identity,
        resume: arguments.resume,
        reuse: arguments.reuse.clone(),
        opener: Opener { settings: settings.store.clone(), variables: ProviderVariables::from_process() },
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        folder: folder.path().to_owned(),
        context: LoadContext {
            executable,
            environment: worker_environment(&settings.workers),
            workers,
            upkeep: Upkeep { sizing, ..Upkeep::from(&settings.workers) },
            slots: ScoringSlots::new(workers),
            settings,
            background: background.clone(),
        },
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return again(&format!("the runtime can't be started: {error}")),
    };
    let finished = runtime.block_on(async {
        let (stopper, stopping) = stop();
        listen(stopper.clone())?;
        background.spawn("adoption of orphans", orphans::adopt()?);
        let mut shown = Shown::new(arguments.progress);
        let finished = tokio::select! {
            finished = take_part(order, &mut shown, stopper, stopping) => finished,
            ended = serve_metrics(operator) => return Err(ended),
            name = background.failed() => return Err(io::Error::other(format!("the {name} panicked; see the log"))),
        };
        shown.end().await;
        Ok::<_, io::Error>(finished)
    });
    match finished {
        Err(error) => again(&format!("run {run} is not complete: {error}; run it again with --run-id {run} --resume")),
        Ok(Err(refused)) => refuse(&refused),
        Ok(Ok(Finished::Complete(report))) => {
            // The code says what became of the run, whether or not anybody reads the summary.
            _ = output::print(&summary(&report));
            if report.within_thresholds { ExitCode::SUCCESS } else { ExitCode::from(OVER_THRESHOLD) }
        }
        Ok(Ok(Finished::Interrupted(why))) => {
            output::complain(&format!("run {run} is not complete: {why}; run it again with --run-id {run} --resume"));
            ExitCode::from(RUN_AGAIN)
        }
        Ok(Ok(Finished::Cancelled)) => {
            output::complain(&format!("run {run} was cancelled"));
            ExitCode::from(CANCELLED)
        }
    }
}

/// Trouble of this machine, which another run may not have.
fn again(reason: &impl std::fmt::Display) -> ExitCode {
    output::complain(reason);
    ExitCode::from(RUN_AGAIN)
}

/// The first signal lets R end what it is at, the second doesn't.
fn listen(stopper: Stopper) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for stop in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("a stop was asked for");
            stopper.ask(stop);
        }
    });
    Ok(())
}

/// Serves metrics if there is a listener; ends only when that fails.
async fn serve_metrics(listener: Option<TcpListener>) -> io::Error {
    let Some(listener) = listener else { return std::future::pending().await };
    metrics::install();
    match http::serve_metrics(listener, Arc::new(metrics::render)).await {
        Ok(()) => io::Error::other("the operator's listener ended by itself"),
        Err(error) => error,
    }
}

fn identity(shard: &str, engine: &EngineVariables) -> Result<Identity, String> {
    if shard == "auto" {
        return Ok(match engine.shard() {
            Some(shard) => Identity { index: shard.index, count: shard.count },
            None => Identity { index: 0, count: Some(1) },
        });
    }
    let parsed = shard.split_once('/').and_then(|(index, count)| {
        let (index, count) = (index.parse::<u64>().ok()?, count.parse::<u64>().ok()?);
        (index < count).then_some(Identity { index, count: Some(count) })
    });
    parsed.ok_or_else(|| format!("--shard: got '{shard}', expected auto, or i/N with i from 0 to N-1, such as 0/4"))
}

fn run_id(arguments: &RunArguments, engine: &EngineVariables) -> Result<String, String> {
    let id = match arguments.run_id.clone().or_else(|| engine.run_id()) {
        Some(id) => id,
        None if engine.shard().is_some() || arguments.shard != "auto" => {
            return Err("shards need one id for their run: give each the same --run-id or RSCORE_RUN_ID".to_owned());
        }
        None if arguments.resume => return Err("--resume needs the run's --run-id".to_owned()),
        None => {
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
            let unique = uuid::Uuid::now_v7().simple().to_string();
            format!("{now}-{}", &unique[unique.len() - 6..])
        }
    };
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if id.is_empty() || id.len() > 100 || id.starts_with('.') || !id.chars().all(good) {
        return Err(format!("--run-id: got '{id}', expected up to 100 letters, digits, hyphens, underscores and dots"));
    }
    Ok(id)
}
