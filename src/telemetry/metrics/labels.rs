//! Values of labels. Each series lives as long as the process, so that every
//! label takes its values from a small fixed set: a list here, a `&'static str`
//! of the caller, or a model that the server was told to serve. Text that a
//! client sent, such as the name of a model that doesn't exist, is never one.

use crate::error::Overload;

/// A model version that the catalog has, or nothing for a request that named none.
pub type Model<'a> = (&'a str, u32);

/// Why requests are turned away before any work is done for them.
pub fn rejection_reasons() -> impl Iterator<Item = &'static str> {
    Overload::ALL.into_iter().map(Overload::name).chain(["starting", "draining"])
}

/// Why a connection is given up: what its caller failed to do.
pub const CUT_REASONS: [&str; 5] = ["handshake", "plain_http", "head", "answer", "flood"];

/// A stage between the last byte of a request and the first of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Bytes to typed columns.
    Decode,
    /// Waiting for a scoring slot and a worker.
    Queue,
    /// Columns to R vectors and back.
    Convert,
    /// Inside R.
    Score,
    /// Columns to bytes.
    Encode,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerState {
    /// Waits for a batch.
    Idle,
    /// Scores one.
    Busy,
}

/// Why a worker was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartReason {
    /// The pool of a version fills up to its size.
    Initial,
    /// Another one ended.
    Replacement,
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// It ended by itself: a signal, `quit()`, a broken connection.
    Crashed,
    /// It was killed because a batch took too long.
    TimedOut,
    /// It was replaced because it used too much memory.
    Memory,
    /// It was replaced in good order, after an error that R may not have
    /// recovered from or at the end of its term.
    Retired,
    /// Its model or the server was stopped.
    Stopped,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanFate {
    /// The collector took them.
    Exported,
    /// The collector did not take them.
    Failed,
    /// Too many waited.
    Dropped,
}

/// Why a zygote ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ZygoteDeath {
    /// It ended by itself or by another's hand.
    Crashed,
    /// It was killed because it did not answer.
    Hung,
}

impl ZygoteDeath {
    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Hung => "hung",
        }
    }
}

impl Stage {
    /// Value of the label, also the name in a `Server-Timing` header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Convert => "convert",
            Self::Score => "score",
            Self::Encode => "encode",
        }
    }
}

impl SpanFate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exported, Self::Failed, Self::Dropped];

    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl WorkerState {
    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
        }
    }
}

impl StartReason {
    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Replacement => "replacement",
        }
    }
}

impl DeathReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crashed, Self::TimedOut, Self::Memory, Self::Retired, Self::Stopped];

    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Memory => "memory",
            Self::Retired => "retired",
            Self::Stopped => "stopped",
        }
    }
}
