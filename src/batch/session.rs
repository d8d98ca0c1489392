//! One process's part in a run, from the job file to the exit code.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bundle::bring;
use super::commit::Patience;
use super::finish;
use super::job::{Job, JobError};
use super::layout::Layout;
use super::objects::{Objects, StoreTrouble, read_json};
use super::plan::{Partition, PlanHead};
use super::planner::{self, PlanError};
use super::progress::Progress;
use super::record::Claim;
use super::report::Report;
use super::run::Workshop;
use super::run::board::Board;
use super::run::heartbeat::Pulse;
use super::run::shard::{End, Identity, Pace, Shard};
use super::run::stop::{Stop, Stopper, Stopping};
use super::sites::{Opener, Sites};
use super::workshop::{Columns, Earlier, ModelParts, RWorkshop};
use crate::frame::schema::SINGLE_INPUT;
use crate::model::Bundle;
use crate::pool::StartError;
use crate::scoring::load::{LoadContext, LoadError, load_bundle};

/// Why a process that was told to stop has not finished.
const STOPPED: &str = "a stop was asked for";

/// What a process was asked to do.
pub struct Order {
    /// The job.
    pub job: Job,
    /// Id of the run.
    pub run: String,
    /// Which shard of how many.
    pub identity: Identity,
    /// Whether a run that exists may be gone on with.
    pub resume: bool,
    /// An earlier run whose results are taken over where nothing has changed.
    pub reuse: Option<String>,
    /// Opens stores.
    pub opener: Opener,
    /// How the model is loaded.
    pub context: LoadContext,
    /// Name of this machine.
    pub host: String,
    /// A folder of our own for what R prints.
    pub folder: PathBuf,
}

/// How a process's part in a run ended.
#[derive(Debug)]
pub enum Finished {
    /// Every partition is settled; the report says how.
    Complete(Box<Report>),
    /// It was asked to stop, or can't go on, and should be run again.
    Interrupted(String),
    /// The run was cancelled.
    Cancelled,
}

/// Why nothing can come of a job until somebody changes something.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The job file.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Anything else that is wrong, one sentence each.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

impl Refused {
    fn because(text: impl Into<String>) -> Self {
        Self::Wrong(vec![text.into()])
    }
}

/// Shows how far a run is.
pub trait Show: Send {
    /// The run begins.
    fn begin(&mut self, head: &PlanHead, progress: Arc<Progress>);
}

/// A run that is open.
pub struct Opened {
    /// Its plan.
    pub head: PlanHead,
    /// Its partitions.
    pub partitions: Arc<[Partition]>,
    /// Where its state is.
    pub objects: Arc<dyn Objects>,
}

/// Takes part in a run.
///
/// # Errors
/// See [`Refused`].
pub async fn take_part(
    order: Order,
    show: &mut dyn Show,
    stopper: Stopper,
    mut stopping: Stopping,
) -> Result<Finished, Refused> {
    let sites = order.opener.sites(&order.job).map_err(Refused::Wrong)?;
    let bundle = tokio::select! {
        bundle = open_bundle(&order) => match bundle? {
            Ok(bundle) => bundle,
            Err(trouble) => return Ok(Finished::Interrupted(trouble.to_string())),
        },
        () = stopping.wait_for_any() => return Ok(Finished::Interrupted(STOPPED.to_owned())),
    };
    let opened = tokio::select! {
        opened = open(&order, &sites, &bundle) => match opened? {
            Ok(opened) => opened,
            Err(trouble) => return Ok(Finished::Interrupted(trouble.to_string())),
        },
        () = stopping.wait_for_any() => return Ok(Finished::Interrupted(STOPPED.to_owned())),
    };
    let layout = Layout::new(&order.run);
    let objects = opened.objects.clone();
    let board = tokio::select! {
        board = Board::read(&*objects, layout, opened.partitions.clone()) => match board {
            Ok(board) => board,
            Err(trouble) => return given_up(&trouble),
        },
        () = stopping.wait_for_any() => return Ok(Finished::Interrupted(STOPPED.to_owned())),
    };
    let progress = Arc::new(Progress::new(opened.head.partitions, opened.head.bytes));
    progress.all_settled(board.settled_count(), board.settled_bytes());
    show.begin(&opened.head, progress.clone());
    let complete = board.open().is_empty() && board.unpublished().is_empty();
    let mut until_now = stopping.clone();
    if !complete {
        let end = tokio::select! {
            end = work(&order, &opened, &sites, &bundle, board, progress, stopper, stopping) => end?,
            () = until_now.wait_for(Stop::Now) => Ok(End::Interrupted),
        };
        match end {
            Ok(End::Complete) => {}
            Ok(End::Interrupted) => return Ok(Finished::Interrupted(STOPPED.to_owned())),
            Ok(End::Cancelled) => return Ok(Finished::Cancelled),
            Err(trouble) => return given_up(&trouble),
        }
    }
    // All is settled: a first signal changes nothing any more.
    let concluded = tokio::select! {
        concluded = conclude(&order, &opened, &sites, complete) => concluded,
        () = until_now.wait_for(Stop::Now) => return Ok(Finished::Interrupted(STOPPED.to_owned())),
    };
    match concluded {
        Ok(report) if report.partitions.open > 0 => {
            Ok(Finished::Interrupted(format!("{} partitions are to be tried again", report.partitions.open)))
        }
        Ok(report) => Ok(Finished::Complete(Box::new(report))),
        Err(trouble) => given_up(&trouble),
    }
}

/// What trouble makes of a process's part: to be run again, unless that is no use.
fn given_up(trouble: &StoreTrouble) -> Result<Finished, Refused> {
    if trouble.is_permanent() {
        return Err(Refused::because(trouble.to_string()));
    }
    Ok(Finished::Interrupted(trouble.to_string()))
}

/// Reads the run again from the store, and writes its report unless partitions were
/// opened again meanwhile. When there was nothing to do, a report may be there.
async fn conclude(order: &Order, opened: &Opened, sites: &Sites, idle: bool) -> Result<Report, StoreTrouble> {
    let layout = Layout::new(&order.run);
    if idle
        && let Ok(Some(report)) = read_json::<Report>(&*opened.objects, &layout.report()).await
        && report.partitions.open == 0
    {
        // Whoever wrote the report may have died before it could say so.
        finish::mark(&*opened.objects, &layout, &report).await?;
        return Ok(report);
    }
    let board = Board::read(&*opened.objects, layout, opened.partitions.clone()).await?;
    let report = finish::report(&*opened.objects, &opened.head, &board, &order.job.errors).await?;
    if report.partitions.open == 0 {
        clear(sites, opened).await;
        finish::finish(&*opened.objects, board.layout(), &report).await?;
    }
    Ok(report)
}

/// Removes what processes that were killed have left beside the outputs, which are
/// all written now.
async fn clear(sites: &Sites, opened: &Opened) {
    let outputs = opened.partitions.iter().map(|partition| partition.output.clone()).collect();
    match sites.output.remove_leftovers(outputs).await {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} unfinished files of processes that were killed are removed"),
        // They cost space and nothing else.
        Err(error) => tracing::warn!("{error}"),
    }
}

/// Opens the bundle, which is brought here first if it lies elsewhere.
async fn open_bundle(order: &Order) -> Result<Result<Bundle, StoreTrouble>, Refused> {
    let refused = |error: &dyn std::fmt::Display| Refused::because(format!("model: {error}"));
    let store = order.opener.open(&order.job.model).map_err(|error| refused(&error))?;
    let folder = match store.location().local_path() {
        Some(folder) => folder,
        None => match bring(&store, &order.folder.join("model")).await {
            Ok(folder) => folder,
            Err(error) if error.is_retryable() => return Ok(Err(StoreTrouble::new(error.to_string()))),
            Err(error) => return Err(refused(&error)),
        },
    };
    let bundle = tokio::task::spawn_blocking(move || Bundle::open(&folder)).await.map_err(|error| refused(&error))?;
    bundle.map(Ok).map_err(|error| refused(&error))
}

/// Why a run was not opened: bad credentials and names are the job's own mistake, a
/// store that doesn't answer is not.
fn not_opened(trouble: StoreTrouble) -> Result<Result<Opened, StoreTrouble>, Refused> {
    if trouble.is_permanent() { Err(Refused::because(trouble.to_string())) } else { Ok(Err(trouble)) }
}

/// Opens the run, or makes it.
async fn open(order: &Order, sites: &Sites, bundle: &Bundle) -> Result<Result<Opened, StoreTrouble>, Refused> {
    let objects: Arc<dyn Objects> = Arc::new(sites.output.clone());
    let existing = match planner::read(&*objects, &order.run).await {
        Ok(existing) => existing,
        Err(trouble) => return not_opened(trouble),
    };
    let (head, partitions) = match existing {
        Some(_)
            if !order.resume && order.identity.count.is_none_or(|count| count == 1) && order.identity.index == 0 =>
        {
            return Err(Refused::because(format!(
                "run {} exists; give --resume to go on with it, or another --run-id",
                order.run
            )));
        }
        Some(existing) => existing,
        None => {
            let draft = match planner::draft(&order.job, sites, &order.run, Some(bundle.identity.digest.clone())).await
            {
                Ok(draft) => draft,
                Err(PlanError::Store(trouble)) => return not_opened(trouble),
                Err(error @ PlanError::Job(_)) => return Err(Refused::because(error.to_string())),
            };
            if draft.partitions.is_empty() {
                return Err(Refused::because("there is nothing to score: no key is complete"));
            }
            for beside in &draft.unmatched {
                tracing::warn!("left out: {beside}");
            }
            if let Err(trouble) = draft.propose(&*objects).await {
                return not_opened(trouble);
            }
            match planner::read(&*objects, &order.run).await {
                Ok(Some(plan)) => plan,
                Ok(None) => return Ok(Err(StoreTrouble::new(format!("the plan of run {} is gone", order.run)))),
                Err(trouble) => return not_opened(trouble),
            }
        }
    };
    if head.job != order.job.text {
        return Err(Refused::because(format!(
            "the job file is not the one that run {} was begun with; give another --run-id",
            order.run
        )));
    }
    if head.model_digest.as_ref().is_some_and(|digest| *digest != bundle.identity.digest) {
        return Err(Refused::because(format!(
            "the model is not the one that run {} was begun with; give another --run-id",
            order.run
        )));
    }
    Ok(Ok(Opened { head, partitions: partitions.into(), objects }))
}

/// Whether a model may well load another time: its process was killed, perhaps for want
/// of memory, or was too slow, or the system had none. R's own refusal stays.
fn is_of_machine(error: &LoadError) -> bool {
    matches!(error, LoadError::Start(StartError::Ended(_) | StartError::TimedOut(_) | StartError::System(_)))
}

#[expect(clippy::too_many_arguments, reason = "the parts of a run, which its only caller has at hand")]
async fn work(
    order: &Order,
    opened: &Opened,
    sites: &Sites,
    bundle: &Bundle,
    board: Board,
    progress: Arc<Progress>,
    stopper: Stopper,
    mut stopping: Stopping,
) -> Result<Result<End, StoreTrouble>, Refused> {
    let Job { limits, .. } = &order.job;
    let mut context = order.context.clone();
    context.settings.models.timeout = limits.partition_timeout;
    let (name, version) = bundle.name_and_version();
    let loaded = tokio::select! {
        loaded = load_bundle(&name, version, bundle.clone(), &context) => match loaded {
            Ok(loaded) => loaded,
            Err(error) if is_of_machine(&error) => return Ok(Err(StoreTrouble::new(format!("model: {error}")))),
            Err(error) => return Err(Refused::because(format!("model: {error}"))),
        },
        () = stopping.wait_for_any() => return Ok(Ok(End::Interrupted)),
    };
    let pool = loaded.pool.clone();
    let ended = async {
        let columns = Columns {
            schemas: loaded.info.schemas.clone(),
            rows_like: bundle.manifest.rows_like.clone().unwrap_or_else(|| SINGLE_INPUT.to_owned()),
            keep: order.job.output.keep.clone(),
        };
        let names: Vec<&str> = order.job.inputs.iter().map(|(name, _)| name.as_str()).collect();
        columns.check(&names).map_err(Refused::Wrong)?;
        if opened.head.broadcast.iter().any(|(name, _)| *name == columns.rows_like) {
            return Err(Refused::because(format!(
                "inputs.{}: predictions have its rows, so that its path needs the captures of the others",
                columns.rows_like
            )));
        }
        let earlier = match &order.reuse {
            Some(run) => match Earlier::find(opened.objects.clone(), run, &opened.head).await {
                Ok(None) => {
                    tracing::warn!(
                        "nothing of run {run} can be used again: it is none, or job or broadcast inputs differ"
                    );
                    None
                }
                Ok(earlier) => earlier,
                Err(trouble) => return Ok(Err(trouble)),
            },
            None => None,
        };
        let claim =
            Claim { shard: order.identity.name(&order.host), instance: uuid::Uuid::now_v7().simple().to_string() };
        let model = ModelParts {
            pool: loaded.pool.clone(),
            load_timeout: context.settings.models.load_timeout,
            columns,
            digest: loaded.info.digest.clone(),
            independent: loaded.info.row_independence.holds(),
            independent_by: bundle.manifest.independent_by.clone(),
        };
        let workshop: Arc<dyn Workshop> = Arc::new(RWorkshop::new(
            order.run.clone(),
            claim.shard.clone(),
            order.job.clone(),
            sites.clone(),
            &opened.head.broadcast,
            model,
            earlier,
            stopping.clone(),
            order.folder.clone(),
        ));
        let layout = Layout::new(&order.run);
        // Memory may have allowed fewer than were asked for.
        let workers = pool.full_size();
        let pulse =
            Pulse::new(opened.objects.clone(), &layout, &claim, workshop.clone(), order.host.clone(), workers as u64);
        let shard = Shard {
            objects: opened.objects.clone(),
            identity: order.identity.clone(),
            claim,
            workshop,
            pace: Pace {
                // One in R and one on either side of it for each worker. Where others could do
                // the work meanwhile, no more is claimed than keeps R busy.
                width: match order.identity.count {
                    Some(1) => 2 * workers + 1,
                    _ => workers + 1,
                },
                shard_timeout: limits.shard_timeout,
                stop_timeout: limits.stop_timeout,
                patience: Patience { tries: 8, pause: Duration::from_millis(100) },
            },
            progress,
            pulse: Arc::new(pulse),
        };
        Ok(shard.run(board, stopper, stopping).await)
    };
    let ended = ended.await;
    pool.stop().await;
    ended
}
