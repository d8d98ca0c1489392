//! One process at work on a run: it claims partitions, has them made, commits
//! and publishes them, until all are settled, whoever settled them.

pub mod attempt;
pub mod board;
pub mod heartbeat;
pub mod publish;
pub mod shard;
pub mod stop;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::objects::StoreTrouble;
use super::plan::Partition;
use super::record::{Failure, Outcome};

/// Makes the output of partitions: fetches, decodes, scores, encodes.
pub trait Workshop: Send + Sync {
    /// Makes one partition. Dropping the future abandons it.
    fn make<'a>(&'a self, order: Order<'a>) -> Pin<Box<dyn Future<Output = Result<Made, Unmade>> + Send + 'a>>;

    /// Seconds that workers spent on calls so far, and memory of all processes in bytes.
    fn usage(&self) -> Usage;
}

/// One attempt at one partition.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// The attempt's id, unlike any other.
    pub attempt: &'a str,
    /// The partition's generation.
    pub generation: u32,
}

/// What a workshop has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Seconds that workers spent on calls.
    pub busy_seconds: f64,
    /// Memory of all processes in bytes.
    pub memory_bytes: u64,
}

/// A partition that was made, or found to be impossible; either settles it.
pub struct Made {
    /// The outcome to commit.
    pub outcome: Outcome,
    /// The output's bytes, where there is an output.
    pub output: Option<Bytes>,
    /// The bytes of the outcome's files of quarantined rows, in their order.
    pub quarantine: Vec<Bytes>,
    /// What to keep as the partition's log; nothing is written when it is empty.
    pub log: Bytes,
    /// Held until the bytes are out of memory.
    pub permit: Option<Arc<dyn Send + Sync>>,
}

/// Why a partition was not made, which says nothing about the partition itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmade {
    /// A stop was asked for before R had begun.
    #[error("interrupted")]
    Interrupted,
    /// A store or a worker can't be had.
    #[error(transparent)]
    Trouble(#[from] StoreTrouble),
}

impl Unmade {
    /// Trouble that may be over when the same is tried again.
    pub fn trouble(text: impl Into<String>) -> Self {
        Self::Trouble(StoreTrouble::new(text))
    }

    /// Trouble that stays until somebody changes something.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self::Trouble(StoreTrouble::permanent(text))
    }
}

/// What keeps a partition from being scored.
#[derive(Debug)]
pub enum Hindrance {
    /// It can't be, now or later; its failure settles it.
    Failure(Failure),
    /// It may be later.
    Unmade(Unmade),
}

impl From<Failure> for Hindrance {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Unmade> for Hindrance {
    fn from(unmade: Unmade) -> Self {
        Self::Unmade(unmade)
    }
}
