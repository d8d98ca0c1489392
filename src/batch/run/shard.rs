//! The work of one shard: own partitions first, then what is left, then waiting
//! for others, whose work it takes over when they die. There is no leader: the
//! run is over for each when all partitions are settled and published.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::attempt::{Bench, Ended};
use super::board::Board;
use super::heartbeat::{Pulse, heartbeats};
use super::publish::publish_again;
use super::stop::{Stop, Stopper, Stopping};
use super::{Unmade, Workshop};
use crate::batch::claim::{Liveness, last_claim};
use crate::batch::commit::Patience;
use crate::batch::digest::stable_hash;
use crate::batch::objects::{Objects, StoreTrouble};
use crate::batch::plan::Partition;
use crate::batch::progress::Progress;
use crate::batch::record::{Claim, ShardState};

/// How often one partition is attempted again when a store or a worker fails.
const MAX_TROUBLES: u32 = 5;

/// How often in a row the run can't be looked at before the shard gives up. Each
/// request was sent again for minutes before.
const MAX_TROUBLES_IN_A_ROW: u32 = 10;

/// Longest time between two looks at a small run.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// How long the store may take for what is not needed: the last heartbeat, and a look
/// whether the last partition was the last one. Others find out by themselves.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Pause before such an attempt.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Which shard of how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Number from 0.
    pub index: u64,
    /// How many there are, where it is known.
    pub count: Option<u64>,
}

impl Identity {
    /// The shard's name in claims and heartbeats. One that has no number goes by its
    /// machine: those of two machines don't overwrite each other's heartbeats, and one
    /// that is started again takes the place of the one before at once.
    pub fn name(&self, host: &str) -> String {
        if self.count != Some(1) {
            return self.index.to_string();
        }
        let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.');
        let host: String = host.chars().map(|character| if good(character) { character } else { '_' }).collect();
        format!("{}-{host}", self.index)
    }
}

/// Bounds of a shard's work.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Partitions that are worked on at once.
    pub width: usize,
    /// How long a silent shard is believed to live.
    pub shard_timeout: Duration,
    /// How long partitions that are in R may go on after a stop was asked for.
    pub stop_timeout: Duration,
    /// How long a commit goes on trying.
    pub patience: Patience,
}

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every partition is settled and published.
    Complete,
    /// It was asked to stop before.
    Interrupted,
    /// The run was cancelled.
    Cancelled,
}

/// A shard at work.
pub struct Shard {
    /// Where the run's state and outputs are.
    pub objects: Arc<dyn Objects>,
    /// Which one it is.
    pub identity: Identity,
    /// Its name, and its process.
    pub claim: Claim,
    /// Makes partitions.
    pub workshop: Arc<dyn Workshop>,
    /// Bounds.
    pub pace: Pace,
    /// What people are told.
    pub progress: Arc<Progress>,
    /// Its heartbeat.
    pub pulse: Arc<Pulse>,
}

type Attempt = (usize, u32, Result<Ended, Unmade>);

impl Shard {
    /// Works until all partitions are settled or a stop is asked for.
    ///
    /// # Errors
    /// A store or the workers can't be had, again and again.
    pub async fn run(self, board: Board, stopper: Stopper, stopping: Stopping) -> Result<End, StoreTrouble> {
        let shard = Arc::new(self);
        let beating = tokio::spawn({
            let (shard, stopper) = (shard.clone(), stopper.clone());
            async move { shard.pulse.run(shard.pace.shard_timeout, &stopper).await }
        });
        let end = Work::new(shard.clone(), board).run(stopping).await;
        beating.abort();
        // It may be in the middle of a beat that says something else.
        let _ = beating.await;
        shard.pulse.note(|heartbeat| {
            heartbeat.running.clear();
            heartbeat.state = ShardState::Ended;
        });
        match timeout(LAST_WORDS, shard.pulse.beat()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the last heartbeat could not be written: {error}"),
            Err(_) => tracing::warn!("the last heartbeat could not be written in time"),
        }
        end
    }

    /// Partitions in the order of this shard: its own by hash, then the others,
    /// each part with the plan's largest first. Without a known number of shards
    /// each begins elsewhere.
    fn order(&self, open: Vec<usize>, partitions: &[Partition]) -> VecDeque<usize> {
        let own = |index: &usize| match self.identity.count {
            Some(count) => stable_hash(&partitions[*index].id) % count.max(1) == self.identity.index,
            None => true,
        };
        let (first, rest): (Vec<usize>, Vec<usize>) = open.into_iter().partition(own);
        let mut first = VecDeque::from(first);
        if self.identity.count.is_none() && !first.is_empty() {
            let turn = stable_hash(&self.claim.shard) as usize % first.len();
            first.rotate_left(turn);
        }
        first.extend(rest);
        first
    }
}

/// What becomes of work with the store; none when a stop is asked for before it is done.
async fn unless_stopped<T>(stopping: &mut Stopping, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stopping.wait_for(Stop::Drain) => None,
        done = work => Some(done),
    }
}

/// The state of a shard's work.
struct Work {
    shard: Arc<Shard>,
    board: Board,
    waiting: VecDeque<usize>,
    attempts: JoinSet<Attempt>,
    running: Vec<usize>,
    liveness: Liveness,
    troubles: std::collections::HashMap<usize, u32>,
    troubles_in_a_row: u32,
}

impl Work {
    fn new(shard: Arc<Shard>, board: Board) -> Self {
        let waiting = shard.order(board.open(), board.partitions());
        let liveness = Liveness::new(shard.pace.shard_timeout);
        let troubles = std::collections::HashMap::new();
        Self {
            shard,
            board,
            waiting,
            attempts: JoinSet::new(),
            running: Vec::new(),
            liveness,
            troubles,
            troubles_in_a_row: 0,
        }
    }

    async fn run(mut self, mut stopping: Stopping) -> Result<End, StoreTrouble> {
        // A store that does not answer is asked again for minutes, longer than a stop may take.
        if let Some(published) = unless_stopped(&mut stopping, self.publish_own()).await {
            self.bear(published)?;
        }
        let mut look = tokio::time::interval(self.look_interval());
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        look.reset();
        while stopping.asked() == Stop::No {
            self.fill();
            if self.attempts.is_empty() {
                let Some(tended) = unless_stopped(&mut stopping, self.tend()).await else { break };
                if self.bear(tended)? == Some(true) {
                    return Ok(End::Complete);
                }
                if !self.attempts.is_empty() || !self.waiting.is_empty() {
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = stopping.wait_for(Stop::Drain) => {}
                Some(attempt) = self.attempts.join_next() => self.ended(attempt).await?,
                _ = look.tick() => {
                    if let Some(looked) = unless_stopped(&mut stopping, self.look_and_help()).await {
                        self.bear(looked)?;
                    }
                }
            }
        }
        self.drain(stopping).await
    }

    /// With nothing to do: whether all is over, else what the dead have left.
    async fn tend(&mut self) -> Result<bool, StoreTrouble> {
        if self.is_complete().await? {
            return Ok(true);
        }
        self.take_over().await?;
        Ok(false)
    }

    /// Bears a store that fails now and then. Nothing is lost by looking again later.
    fn bear<T>(&mut self, done: Result<T, StoreTrouble>) -> Result<Option<T>, StoreTrouble> {
        match done {
            Ok(done) => {
                self.troubles_in_a_row = 0;
                Ok(Some(done))
            }
            Err(trouble) if self.troubles_in_a_row < MAX_TROUBLES_IN_A_ROW => {
                self.troubles_in_a_row += 1;
                tracing::warn!("the run could not be looked at: {trouble}");
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Long enough that listing a large run costs little.
    fn look_interval(&self) -> Duration {
        let by_size = Duration::from_millis(self.board.partitions().len() as u64 / 10);
        (self.shard.pace.shard_timeout / 10).min(LONGEST_LOOK).max(by_size)
    }

    fn fill(&mut self) {
        while self.attempts.len() < self.shard.pace.width
            && let Some(index) = self.waiting.pop_front()
        {
            if !self.board.is_settled(index) {
                self.start(index, 0, Duration::ZERO);
            }
        }
    }

    fn start(&mut self, index: usize, epoch: u32, pause: Duration) {
        let shard = self.shard.clone();
        let generation = self.board.generation(index);
        let (partitions, layout) = (self.board.partitions().clone(), self.board.layout().clone());
        self.running.push(index);
        self.tell_running();
        self.attempts.spawn(async move {
            tokio::time::sleep(pause).await;
            let bench = Bench {
                objects: &*shard.objects,
                layout: &layout,
                claim: &shard.claim,
                workshop: &*shard.workshop,
                patience: shard.pace.patience,
                shard_timeout: shard.pace.shard_timeout,
            };
            (index, epoch, bench.attempt(&partitions[index], generation, epoch).await)
        });
    }

    fn tell_running(&self) {
        let running = self.running.iter().map(|&index| self.board.partitions()[index].id.clone()).collect();
        self.shard.progress.running(self.running.len());
        self.shard.pulse.note(|heartbeat| heartbeat.running = running);
    }

    async fn ended(&mut self, attempt: Result<Attempt, tokio::task::JoinError>) -> Result<(), StoreTrouble> {
        let (index, epoch, ended) =
            attempt.map_err(|error| StoreTrouble::new(format!("an attempt ended without a result: {error}")))?;
        self.running.retain(|&other| other != index);
        self.tell_running();
        match ended {
            Ok(Ended::Settled { outcome, ours, published }) => {
                self.board.note(index, published);
                self.shard.pulse.note(|heartbeat| match ours {
                    true => heartbeat.settled += 1,
                    false => heartbeat.duplicates += 1,
                });
                if ours {
                    self.shard.progress.settled(&outcome, self.board.partitions()[index].bytes());
                }
            }
            // A later look finds out what became of it.
            Ok(Ended::Elsewhere) | Err(Unmade::Interrupted) => {}
            Err(Unmade::Trouble(trouble)) => {
                let troubles = self.troubles.entry(index).or_default();
                *troubles += 1;
                let partition = &self.board.partitions()[index].id;
                if *troubles >= MAX_TROUBLES {
                    return Err(trouble.about(&format!("partition {partition} was given up for now")));
                }
                tracing::warn!(batch.partition = %partition, "attempt {troubles} of {MAX_TROUBLES} failed: {trouble}");
                let pause = TROUBLE_PAUSE * *troubles;
                self.start(index, epoch, pause);
            }
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), StoreTrouble> {
        self.board.refresh(&*self.shard.objects).await?;
        self.shard.progress.all_settled(self.board.settled_count(), self.board.settled_bytes());
        Ok(())
    }

    /// Workers that have nothing to do don't wait for those that have.
    async fn look_and_help(&mut self) -> Result<(), StoreTrouble> {
        self.look().await?;
        if self.waiting.is_empty() { self.take_over().await } else { Ok(()) }
    }

    /// At the start: what an earlier process of this shard, or a dead one, left
    /// unpublished. Others that live are left to do theirs.
    async fn publish_own(&mut self) -> Result<(), StoreTrouble> {
        self.shard.progress.all_settled(self.board.settled_count(), self.board.settled_bytes());
        self.repair().await
    }

    async fn is_complete(&mut self) -> Result<bool, StoreTrouble> {
        self.look().await?;
        if self.board.settled_count() < self.board.partitions().len() {
            return Ok(false);
        }
        self.repair().await?;
        Ok(self.board.unpublished().is_empty())
    }

    /// Publishes what the dead have committed.
    async fn repair(&mut self) -> Result<(), StoreTrouble> {
        let unpublished = self.board.unpublished();
        if unpublished.is_empty() {
            return Ok(());
        }
        self.observe().await?;
        for index in unpublished {
            if self.last_epoch_if_dead(index).await?.is_some() {
                let generation = self.board.generation(index);
                let partition = &self.board.partitions()[index].id;
                publish_again(&*self.shard.objects, self.board.layout(), generation, partition).await?;
                self.board.note(index, true);
            }
        }
        Ok(())
    }

    /// Takes over partitions of the dead.
    async fn take_over(&mut self) -> Result<(), StoreTrouble> {
        self.observe().await?;
        for index in self.board.open() {
            if self.attempts.len() >= self.shard.pace.width {
                break;
            }
            if self.running.contains(&index) {
                continue;
            }
            if let Some(epoch) = self.last_epoch_if_dead(index).await? {
                self.start(index, epoch, Duration::ZERO);
            }
        }
        Ok(())
    }

    async fn observe(&mut self) -> Result<(), StoreTrouble> {
        let heartbeats = heartbeats(&*self.shard.objects, self.board.layout()).await?;
        self.liveness.observe(&heartbeats, Instant::now());
        Ok(())
    }

    /// The epoch to claim next, when nobody who lives has a partition.
    async fn last_epoch_if_dead(&mut self, index: usize) -> Result<Option<u32>, StoreTrouble> {
        let generation = self.board.generation(index);
        let partition = &self.board.partitions()[index].id;
        let last = last_claim(&*self.shard.objects, self.board.layout(), generation, partition).await?;
        Ok(match last {
            None => Some(0),
            Some((epoch, claim)) if claim.instance == self.shard.claim.instance => Some(epoch),
            Some((epoch, claim)) => (!self.liveness.is_alive(&claim, Instant::now())).then_some(epoch + 1),
        })
    }

    /// Lets what is in R end in time.
    async fn drain(mut self, mut stopping: Stopping) -> Result<End, StoreTrouble> {
        let deadline = Instant::now() + self.shard.pace.stop_timeout;
        self.shard.pulse.note(|heartbeat| heartbeat.state = ShardState::Draining);
        let pulse = self.shard.pulse.clone();
        let mut telling = std::pin::pin!(pulse.beat());
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                () = stopping.wait_for(Stop::Now) => break,
                () = tokio::time::sleep_until(deadline) => break,
                beaten = &mut telling, if !told => {
                    told = true;
                    if let Err(error) = beaten {
                        tracing::warn!("the heartbeat could not be written: {error}");
                    }
                }
                attempt = self.attempts.join_next() => match attempt {
                    Some(Ok((index, _, Ok(Ended::Settled { outcome, ours: true, published })))) => {
                        self.board.note(index, published);
                        self.shard.pulse.note(|heartbeat| heartbeat.settled += 1);
                        self.shard.progress.settled(&outcome, self.board.partitions()[index].bytes());
                    }
                    Some(_) => {}
                    None => break,
                },
            }
        }
        self.attempts.shutdown().await;
        if stopping.asked() == Stop::Cancel {
            return Ok(End::Cancelled);
        }
        // It may have been the last one.
        let complete = tokio::select! {
            biased;
            () = stopping.wait_for(Stop::Now) => false,
            complete = timeout_at(deadline.max(Instant::now() + LAST_WORDS), self.is_complete()) => {
                matches!(complete, Ok(Ok(true)))
            }
        };
        Ok(if complete { End::Complete } else { End::Interrupted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_without_a_number_go_by_their_machine() {
        let only = Identity { index: 0, count: Some(1) };
        assert_eq!(only.name("node-7.example"), "0-node-7.example");
        assert_eq!(only.name("a/b"), "0-a_b");
        assert_eq!(Identity { index: 3, count: Some(4) }.name("node-7"), "3");
        assert_eq!(Identity { index: 3, count: None }.name("node-7"), "3");
    }
}
