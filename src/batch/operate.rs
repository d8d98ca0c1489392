//! Looking at a run from anywhere, and asking its shards for something: all by
//! reading and creating objects beside those that shards write.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::finish;
use super::job::Job;
use super::layout::{LATEST, Layout};
use super::objects::{Created, Objects, StoreTrouble, read_json, to_json};
use super::plan::{Partition, PlanHead};
use super::planner;
use super::record::{Finding, Heartbeat, Outcome, Retry};
use super::report::Report;
use super::run::board::Board;
use super::run::heartbeat::heartbeats;

/// Outcomes that are read at once.
const READS: usize = 64;

/// A run that is looked at.
pub struct Watched {
    /// Its plan.
    pub head: PlanHead,
    objects: Arc<dyn Objects>,
    partitions: Arc<[Partition]>,
    layout: Layout,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Id of the run.
    pub run: String,
    /// What is going on.
    pub state: RunState,
    /// Partitions of the plan.
    pub partitions: u64,
    /// Partitions that are settled.
    pub settled: u64,
    /// Settled partitions whose output is not yet published.
    pub unpublished: u64,
    /// Bytes of all inputs.
    pub bytes: u64,
    /// Bytes of the inputs that are settled.
    pub settled_bytes: u64,
    /// When the plan was made.
    pub created: String,
    /// What shards said last.
    pub shards: Vec<Heartbeat>,
}

/// What is going on in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not all is settled.
    Open,
    /// Somebody cancelled it.
    Cancelled,
    /// All is settled, and within the thresholds.
    Succeeded,
    /// All is settled.
    Complete,
}

impl Watched {
    /// Opens a run.
    ///
    /// # Errors
    /// There is no such run, or the store's.
    pub async fn open(objects: Arc<dyn Objects>, run: &str) -> Result<Self, StoreTrouble> {
        let Some((head, partitions)) = planner::read(&*objects, run).await? else {
            return Err(StoreTrouble::new(format!("there is no run {run} here")));
        };
        Ok(Self { head, objects, partitions: partitions.into(), layout: Layout::new(run) })
    }

    /// How far it is.
    ///
    /// # Errors
    /// The store's.
    pub async fn status(&self) -> Result<Status, StoreTrouble> {
        let board = self.board().await?;
        let settled = board.settled_count() as u64;
        let complete = settled == self.head.partitions;
        let state = if complete && self.objects.read(&self.layout.success()).await?.is_some() {
            RunState::Succeeded
        } else if self.objects.read(&self.layout.cancel()).await?.is_some() {
            RunState::Cancelled
        } else if complete {
            RunState::Complete
        } else {
            RunState::Open
        };
        Ok(Status {
            run: self.head.run.clone(),
            state,
            partitions: self.head.partitions,
            settled,
            unpublished: board.unpublished().len() as u64,
            bytes: self.head.bytes,
            settled_bytes: board.settled_bytes(),
            created: self.head.created.clone(),
            shards: heartbeats(&*self.objects, &self.layout).await?,
        })
    }

    /// Partitions that have a log.
    ///
    /// # Errors
    /// The store's.
    pub async fn logs(&self) -> Result<Vec<(String, u64)>, StoreTrouble> {
        let folder = self.layout.logs();
        let listed = self.objects.list(&folder).await?;
        let mut logs: Vec<(String, u64)> = listed
            .into_iter()
            .filter_map(|object| {
                let partition = object.path.strip_prefix(&folder)?.strip_suffix(".txt")?.to_owned();
                Some((partition, object.size))
            })
            .collect();
        logs.sort_unstable();
        Ok(logs)
    }

    /// The log of a partition as it is now; none when there is nothing to say.
    ///
    /// # Errors
    /// The plan has no such partition, or the store's.
    pub async fn log(&self, partition: &str) -> Result<Option<Bytes>, StoreTrouble> {
        if !self.partitions.iter().any(|other| other.id == partition) {
            return Err(StoreTrouble::new(format!("run {} has no partition '{partition}'", self.head.run)));
        }
        self.objects.read(&self.layout.log(partition)).await
    }

    /// Whether a partition is settled.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_settled(&self, partition: &str) -> Result<bool, StoreTrouble> {
        let board = self.board().await?;
        let index = self.partitions.iter().position(|other| other.id == partition);
        Ok(index.is_some_and(|index| board.is_settled(index)))
    }

    /// The report: the one that was written, else one of what is settled so far.
    ///
    /// # Errors
    /// The store's.
    pub async fn report(&self) -> Result<Report, StoreTrouble> {
        if let Some(report) = read_json(&*self.objects, &self.layout.report()).await? {
            return Ok(report);
        }
        let job = Job::parse(&self.head.job).map_err(|error| StoreTrouble::new(error.to_string()))?;
        finish::report(&*self.objects, &self.head, &self.board().await?, &job.errors).await
    }

    /// Asks all shards to stop for good.
    ///
    /// # Errors
    /// The store's.
    pub async fn cancel(&self) -> Result<(), StoreTrouble> {
        self.objects.write(&self.layout.cancel(), Bytes::from_static(b"{}")).await
    }

    /// Has failed partitions tried again by whoever takes part in the run next; gives
    /// their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, only: Option<&str>) -> Result<Vec<String>, StoreTrouble> {
        let board = self.board().await?;
        let settled = (0..self.partitions.len()).filter(|&index| board.is_settled(index));
        let wanted = settled.filter(|&index| only.is_none_or(|only| self.partitions[index].id == only));
        let paths = wanted.map(|index| self.layout.outcome(board.generation(index), &self.partitions[index].id));
        let objects = &*self.objects;
        let mut outcomes = stream::iter(paths)
            .map(|path| async move { read_json::<Outcome>(objects, &path).await })
            .buffer_unordered(READS);
        let mut generations = Vec::new();
        while let Some(outcome) = outcomes.next().await {
            if let Some(Outcome { partition, generation, result: Finding::Failed { .. }, .. }) = outcome? {
                generations.push((partition, generation + 1));
            }
        }
        if generations.is_empty() {
            return Ok(Vec::new());
        }
        // First: should this end here, the next run says again what is so, and never is a
        // success claimed of a run that is open.
        finish::take_back(objects, &self.layout).await?;
        generations.sort_unstable();
        let retry = Retry { generations };
        // Requests only add up, so that two at once are one.
        let mut number = u32::try_from(self.objects.list(&self.layout.retries()).await?.len()).unwrap_or(u32::MAX);
        while self.objects.create(&self.layout.retry(number), to_json(&retry)?).await? == Created::Exists {
            number += 1;
        }
        Ok(retry.generations.into_iter().map(|(partition, _)| partition).collect())
    }

    async fn board(&self) -> Result<Board, StoreTrouble> {
        Board::read(&*self.objects, self.layout.clone(), self.partitions.clone()).await
    }
}

/// The run that was begun last.
///
/// # Errors
/// The store's.
pub async fn latest(objects: &dyn Objects) -> Result<Option<String>, StoreTrouble> {
    Ok(objects.read(LATEST).await?.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::batch::objects::{Answer, Listed};
    use crate::batch::plan::VERSION;
    use crate::batch::simulation::store::{Link, SimulatedStore};

    /// A store that takes no requests to try again.
    struct NoRetries(Link, Layout);

    impl Objects for NoRetries {
        fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, Created> {
            if path.starts_with(&self.1.retries()) {
                return Box::pin(async { Err(StoreTrouble::new("the process died here")) });
            }
            self.0.create(path, bytes)
        }

        fn write<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
            self.0.write(path, bytes)
        }

        fn read<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Bytes>> {
            self.0.read(path)
        }

        fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
            self.0.list(folder)
        }

        fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
            self.0.remove(path)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_success_is_claimed_of_a_run_that_is_opened_again() {
        let layout = Layout::new("r");
        let outcome = serde_json::json!({
            "partition": "p=1", "attempt": "a", "shard": "0", "generation": 0, "model_digest": "m", "etags": [],
            "tries": 1, "rows": {"read": 0, "written": 0, "quarantined": 0, "failed": 0},
            "times": {"fetch": 0.0, "decode": 0.0, "wait": 0.0, "convert": 0.0, "score": 0.0, "encode": 0.0, "stage": 0.0},
            "result": {"state": "failed", "failure": {"cause": "r_error", "message": "no"}},
        });
        let objects = BTreeMap::from([
            (layout.outcome(0, "p=1"), Bytes::from(outcome.to_string())),
            (layout.published(0, "p=1"), Bytes::new()),
            (layout.report(), Bytes::from_static(b"{}")),
            (layout.success(), Bytes::new()),
        ]);
        let store = Arc::new(SimulatedStore::holding(objects));
        let head = PlanHead {
            version: VERSION,
            run: "r".to_owned(),
            created: String::new(),
            job: String::new(),
            digest: String::new(),
            partitions: 1,
            bytes: 0,
            model_digest: None,
            broadcast: Vec::new(),
            missing: Vec::new(),
            missing_count: 0,
        };
        let partition = Partition { id: "p=1".to_owned(), inputs: Vec::new(), output: "1.csv".to_owned() };
        let objects = Arc::new(NoRetries(Link::new(store.clone()), layout.clone()));
        let watched = Watched { head, objects, partitions: vec![partition].into(), layout: layout.clone() };
        assert_eq!(watched.status().await.unwrap().state, RunState::Succeeded);
        watched.retry(None).await.unwrap_err();
        let left = store.contents();
        assert!(!left.contains_key(&layout.success()) && !left.contains_key(&layout.report()), "{left:?}");
        assert_eq!(watched.status().await.unwrap().state, RunState::Complete);
    }
}
