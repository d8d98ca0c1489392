//! What the front end and a zygote say to each other.

use std::io;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::frames::{FrameEntry, read_inputs, write_inputs};
use super::{Encoded, Encoder};
use crate::error::Condition;
use crate::frame::schema::{Column, Inputs};
use crate::model::manifest::Argument;

/// From the front end to a zygote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteRequest {
    /// Load a bundle; once, first.
    Load(LoadRequest),
    /// Get ready to be forked; once at most, before the first fork.
    WarmUp(WarmUpRequest),
    /// Fork a worker; the worker's end of its socket, its standard output and its
    /// standard error come along as file descriptors.
    Fork {
        /// Chosen by the front end; names the worker in later messages.
        id: u64,
        /// What it may take.
        allotment: Allotment,
    },
    /// Say that you can still answer.
    Ping,
}

/// From a zygote to the front end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteReply {
    /// The bundle is loaded.
    Loaded(LoadedModel),
    /// It could not be loaded; the zygote ends.
    LoadFailed(Condition),
    /// The warm-up is over.
    WarmedUp(WarmedUp),
    /// A worker runs.
    Forked {
        /// Its id.
        id: u64,
        /// Its process id.
        pid: i32,
    },
    /// No worker could be forked.
    ForkFailed {
        /// The id that was asked for.
        id: u64,
        /// What the system said.
        reason: String,
    },
    /// A worker ended.
    Exited {
        /// Its id.
        id: u64,
        /// How.
        status: ExitStatus,
    },
    /// The answer to a ping.
    Pong,
}

/// What a zygote loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRequest {
    /// Absolute path of the bundle's version folder.
    pub directory: String,
    /// Absolute path of the scoring script, if there is one.
    pub script: Option<String>,
    /// Packages that the manifest names.
    pub packages: Vec<String>,
    /// Extra arguments of `predict()` for a bundle without a script.
    pub predict: Vec<(String, Argument)>,
    /// Names of the inputs; `["data"]` for a model with just one.
    pub inputs: Vec<String>,
    /// Seed of the random generator for each call; none to draw anew.
    pub seed: Option<i32>,
    /// Largest reply in bytes; larger predictions are an error of the call.
    pub max_reply_bytes: usize,
}

/// What one of several workers may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allotment {
    /// Bytes by which it may grow; 0 for no bound.
    pub max_growth_bytes: u64,
    /// Workers that share one model's memory, this one among them.
    pub workers: u32,
}

/// How a zygote gets ready: it scores rows, whose frames are the message's
/// body, so that R compiles what its workers will call; then it collects garbage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmUpRequest {
    /// How often the rows are scored; 0 when there are none.
    calls: u32,
    inputs: Vec<FrameEntry>,
}

impl WarmUpRequest {
    /// Encodes a request to score these rows so often, or just to collect.
    ///
    /// # Errors
    /// `InvalidData` when it is too large.
    pub fn encode(calls: u32, inputs: Option<&Inputs<RecordBatch>>) -> io::Result<Encoded> {
        let mut body = Vec::new();
        let request = match inputs {
            Some(inputs) => Self { calls, inputs: write_inputs(inputs, &mut body)? },
            None => Self { calls: 0, inputs: Vec::new() },
        };
        Encoder::new(&ZygoteRequest::WarmUp(request))?.with_body(&body)
    }

    /// How often the rows are to be scored, and the rows in the message's body.
    ///
    /// # Errors
    /// `InvalidData` when the body is not what the head announces.
    pub fn decode(self, body: &[u8]) -> io::Result<(u32, Inputs<RecordBatch>)> {
        Ok((self.calls, read_inputs(self.inputs, body)?))
    }
}

/// How a warm-up went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WarmedUp {
    /// R warnings of the calls.
    pub warnings: Vec<String>,
    /// The error that ended it early; made-up rows may make no sense to a model.
    pub failure: Option<Condition>,
    /// Why this process had better not be forked any more, such as threads that
    /// the model started.
    pub unfit: Option<String>,
}

/// What was learned about a model while it was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadedModel {
    /// Class vector of the R object.
    pub class: Vec<String>,
    /// Packages and their versions.
    pub packages: Vec<(String, String)>,
    /// Version of R.
    pub r_version: String,
    /// The input columns, where R keeps them.
    pub columns: Option<Vec<Column>>,
    /// What its owner should know, such as factors whose levels R doesn't keep.
    pub warnings: Vec<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Only its parent learns how, and that was somebody else.
    Unknown,
}

impl ExitStatus {
    /// From what a parent is told: the code of a process that ended by itself, or
    /// the signal that ended it.
    pub fn from_parts(code: Option<i32>, signal: Option<i32>) -> Self {
        match (code, signal) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unseen"),
        }
    }
}
