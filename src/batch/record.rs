//! The documents of a run besides its plan: claims, heartbeats, outcomes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Condition;

/// How a partition ended. Of one generation there is exactly one, whoever tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Id of the partition.
    pub partition: String,
    /// The attempt that it came from, unlike any other.
    pub attempt: String,
    /// The shard that made the attempt.
    pub shard: String,
    /// 0 at first, and one more after each retry that was asked for.
    pub generation: u32,
    /// What became of the rows.
    pub rows: Rows,
    /// The output, or why there is none.
    pub result: Finding,
    /// The rows that were set aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Written>,
    /// How many warnings R raised.
    #[serde(default)]
    pub warnings: u64,
    /// SHA-256 of the bundle.
    pub model_digest: String,
    /// Versions of what was read, by input.
    pub etags: Vec<(String, Option<String>)>,
    /// Where the time went.
    pub times: Times,
    /// How often R was tried.
    pub tries: u32,
    /// Largest resident memory of the worker that was seen, in bytes; 0 when none was.
    #[serde(default)]
    pub worker_bytes: u64,
    /// Whether it was taken over from an earlier run.
    #[serde(default)]
    pub reused: bool,
}

/// What an attempt found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Finding {
    /// There is an output.
    Scored {
        /// The output.
        output: Written,
    },
    /// There is none.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Path below the output's folder.
    pub path: String,
    /// Where an attempt staged it, below the output's folder.
    pub staged: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Rows of a partition. `read = written + quarantined + failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// Rows of the input that the predictions follow.
    pub read: u64,
    /// Rows of the output.
    pub written: u64,
    /// Rows set aside.
    pub quarantined: u64,
    /// Rows of a partition that failed.
    pub failed: u64,
}

impl Rows {
    /// Whether every row that was read is somewhere.
    pub fn conserved(&self) -> bool {
        self.read == self.written + self.quarantined + self.failed
    }

    /// Adds those of another partition.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.quarantined += other.quarantined;
        self.failed += other.failed;
    }
}

/// Why a partition has no output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub cause: Cause,
    /// A sentence: what, where, what to do.
    pub message: String,
    /// The R condition, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// Kinds of failures. None of these would go better on another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// R raised an error.
    RError,
    /// R took longer than `limits.partition_timeout`.
    Timeout,
    /// The worker process died twice; its memory may not have sufficed.
    Crash,
    /// An input was replaced or removed after the plan was made.
    InputChanged,
    /// An input is not what its extension says, or doesn't fit the model.
    InputMalformed,
    /// Rows can't be used, and the job says that a partition fails then.
    BadRows,
    /// The partition is over a limit.
    TooLarge,
}

impl Cause {
    /// Its name in documents and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::RError => "r_error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::InputChanged => "input_changed",
            Self::InputMalformed => "input_malformed",
            Self::BadRows => "bad_rows",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RError => "R error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::InputChanged => "input changed",
            Self::InputMalformed => "input malformed",
            Self::BadRows => "bad rows",
            Self::TooLarge => "too large",
        })
    }
}

/// Seconds that an attempt spent in its stages.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Times {
    /// Fetching inputs.
    pub fetch: f64,
    /// Decoding them.
    pub decode: f64,
    /// Waiting for a worker.
    pub wait: f64,
    /// Between columns and R vectors.
    pub convert: f64,
    /// Inside R.
    pub score: f64,
    /// Encoding the output.
    pub encode: f64,
    /// Staging it.
    pub stage: f64,
}

impl Times {
    /// Adds those of another attempt.
    pub fn add(&mut self, other: &Self) {
        self.fetch += other.fetch;
        self.decode += other.decode;
        self.wait += other.wait;
        self.convert += other.convert;
        self.score += other.score;
        self.encode += other.encode;
        self.stage += other.stage;
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.fetch + self.decode + self.wait + self.convert + self.score + self.encode + self.stage
    }
}

/// Says that a shard works on a partition. Saves work, and is never needed for safety.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The shard.
    pub shard: String,
    /// The process, unlike any other.
    pub instance: String,
}

/// What a shard says about itself again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The shard.
    pub shard: String,
    /// The process, unlike any other.
    pub instance: String,
    /// Grows with each beat.
    pub beat: u64,
    /// What it is doing.
    pub state: ShardState,
    /// Name of its machine.
    pub host: String,
    /// Worker processes.
    pub workers: u64,
    /// Partitions that it works on.
    pub running: Vec<String>,
    /// Partitions that it settled.
    pub settled: u64,
    /// Attempts that lost against another shard's commit.
    pub duplicates: u64,
    /// Seconds since it started to work.
    pub held_seconds: f64,
    /// Seconds that its workers spent on calls.
    pub busy_seconds: f64,
    /// Memory of its processes in bytes, when last looked at.
    pub memory_bytes: u64,
}

impl Heartbeat {
    /// Of a shard that has not beaten.
    pub fn new(claim: &Claim, host: String, workers: u64) -> Self {
        Self {
            shard: claim.shard.clone(),
            instance: claim.instance.clone(),
            beat: 0,
            state: ShardState::Working,
            host,
            workers,
            running: Vec::new(),
            settled: 0,
            duplicates: 0,
            held_seconds: 0.0,
            busy_seconds: 0.0,
            memory_bytes: 0,
        }
    }
}

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// It takes partitions.
    Working,
    /// It was told to stop and takes no more.
    Draining,
    /// It has ended.
    Ended,
}

/// A request to try failed partitions again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Partitions with the generation that they go to.
    pub generations: Vec<(String, u32)>,
}
