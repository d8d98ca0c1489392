//! One attempt at one partition: claim, make, stage, commit, publish.

use std::time::Duration;

use tokio::time::Instant;

use super::publish::publish;
use super::{Made, Order, Unmade, Workshop};
use crate::batch::claim::{Claimed, claim};
use crate::batch::commit::{Patience, Verdict, commit};
use crate::batch::layout::Layout;
use crate::batch::objects::{Objects, StoreTrouble};
use crate::batch::plan::Partition;
use crate::batch::record::{Claim, Finding, Outcome};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Another shard works on the partition.
    Elsewhere,
    /// The partition is settled, by us or by another.
    Settled {
        /// What counts.
        outcome: Box<Outcome>,
        /// Whether it is ours.
        ours: bool,
        /// Whether we know it to be published.
        published: bool,
    },
}

/// What all attempts of a process share.
pub struct Bench<'a> {
    /// Where the run's state and outputs are.
    pub objects: &'a dyn Objects,
    /// Paths of the run.
    pub layout: &'a Layout,
    /// Who we are.
    pub claim: &'a Claim,
    /// Makes partitions.
    pub workshop: &'a dyn Workshop,
    /// How long a commit goes on trying.
    pub patience: Patience,
    /// How long a silent shard is believed to live: after half of that others may
    /// have done our work.
    pub shard_timeout: Duration,
}

impl Bench<'_> {
    /// Attempts a partition whose claims before `epoch` are of the dead.
    ///
    /// # Errors
    /// It was not made, or it is unknown what the store made of it.
    pub async fn attempt(&self, partition: &Partition, generation: u32, epoch: u32) -> Result<Ended, Unmade> {
        let claimed = claim(self.objects, self.layout, generation, &partition.id, epoch, self.claim).await?;
        if claimed == Claimed::Theirs {
            return Ok(Ended::Elsewhere);
        }
        let attempt = uuid::Uuid::now_v7().simple().to_string();
        let made = self.workshop.make(Order { partition, attempt: &attempt, generation }).await?;
        self.settle(made).await.map_err(Unmade::from)
    }

    async fn settle(&self, made: Made) -> Result<Ended, StoreTrouble> {
        let Made { mut outcome, output, quarantine, log, permit } = made;
        let staging = Instant::now();
        if let (Finding::Scored { output: written }, Some(bytes)) = (&outcome.result, &output) {
            self.objects.write(&written.staged, bytes.clone()).await?;
        }
        for (written, bytes) in outcome.quarantine.iter().zip(&quarantine) {
            self.objects.write(&written.staged, bytes.clone()).await?;
        }
        if !log.is_empty() {
            self.objects.write(&self.layout.log(&outcome.partition), log).await?;
        }
        outcome.times.stage = staging.elapsed().as_secs_f64();
        let began = Instant::now();
        let path = self.layout.outcome(outcome.generation, &outcome.partition);
        let ended = match commit(self.objects, &path, &outcome, self.patience).await? {
            Verdict::Won => {
                let late = began.elapsed() > self.shard_timeout / 2;
                let published = match late && self.was_published(&outcome).await? {
                    true => true,
                    // Not published is no failure of the attempt: a later look repairs it.
                    false => match publish(self.objects, self.layout, &outcome, output, quarantine).await {
                        Ok(()) => true,
                        Err(error) => {
                            tracing::warn!(batch.partition = %outcome.partition, "committed and not yet published: {error}");
                            false
                        }
                    },
                };
                Ended::Settled { outcome: Box::new(outcome), ours: true, published }
            }
            Verdict::Lost(there) => {
                self.discard(&outcome).await;
                Ended::Settled { outcome: there, ours: false, published: false }
            }
        };
        drop(permit);
        Ok(ended)
    }

    /// Whether others have published it while we were stopped.
    async fn was_published(&self, outcome: &Outcome) -> Result<bool, StoreTrouble> {
        let mark = self.layout.published(outcome.generation, &outcome.partition);
        Ok(self.objects.read(&mark).await?.is_some())
    }

    /// Removes what an attempt staged that lost.
    async fn discard(&self, outcome: &Outcome) {
        let output = match &outcome.result {
            Finding::Scored { output } => Some(output),
            Finding::Failed { .. } => None,
        };
        for written in output.into_iter().chain(&outcome.quarantine) {
            if let Err(error) = self.objects.remove(&written.staged).await {
                tracing::debug!("{} could not be removed: {error}", written.staged);
            }
        }
    }
}
