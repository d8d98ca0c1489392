//! What the front end and a worker say to each other.

use std::io;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::frames::{FrameEntry, read_frame, read_inputs, write_frame, write_inputs};
use super::{Encoded, Encoder, decode_plain, encode_plain};
use crate::error::Condition;
use crate::frame::schema::Inputs;

/// From the front end to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreCall {
    /// Echoed in the reply.
    pub id: u64,
    /// One frame per input.
    pub inputs: Inputs<RecordBatch>,
}

/// From a worker to the front end.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreReply {
    /// Id of the call.
    pub id: u64,
    /// Predictions or the R error.
    pub outcome: Result<Predictions, Condition>,
    /// R warnings.
    pub warnings: Vec<String>,
    /// Whether the worker should be replaced: its R survived, but is not to be
    /// trusted further.
    pub retire: bool,
    /// How far R is, since the fork, on its way to its next full garbage collection, in
    /// collections.
    pub collections: u32,
    /// Time for conversion between columns and R vectors, in nanoseconds.
    pub convert_nanoseconds: u64,
    /// Time inside R, in nanoseconds.
    pub score_nanoseconds: u64,
}

/// What R returned, as columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// One column or several.
    pub batch: RecordBatch,
    /// Whether R gave a plain vector.
    pub unnamed: bool,
}

/// What the calls that follow are about, until the next task: a partition of a
/// batch run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// State of the random generator before each call, six numbers of L'Ecuyer-CMRG.
    pub stream: [i32; 6],
    /// File that takes what R prints.
    pub output: PathBuf,
}

/// The answer to [`WorkerRequest::Begin`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Id of the request.
    pub id: u64,
    /// Why the worker can't do it, if it can't.
    pub problem: Option<String>,
}

/// Whatever a worker can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerRequest {
    /// Score.
    Score(ScoreCall),
    /// Begin a task.
    Begin {
        /// Echoed in the answer.
        id: u64,
        /// What it is about.
        task: Task,
    },
    /// Collect garbage, now that nobody waits.
    Collect {
        /// Echoed in the answer.
        id: u64,
    },
}

/// The answer to [`WorkerRequest::Collect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Id of the request.
    pub id: u64,
}

#[derive(Serialize, Deserialize)]
enum RequestHead {
    Score { id: u64, inputs: Vec<FrameEntry> },
    Begin { id: u64, task: Task },
    Collect { id: u64 },
}

#[derive(Serialize, Deserialize)]
struct ReplyHead {
    id: u64,
    outcome: Result<bool, Condition>,
    warnings: Vec<String>,
    retire: bool,
    collections: u32,
    convert_nanoseconds: u64,
    score_nanoseconds: u64,
}

impl ScoreCall {
    /// Encodes the call.
    ///
    /// # Errors
    /// `InvalidData` when it is too large.
    pub fn encode(&self) -> io::Result<Encoded> {
        let mut body = Vec::new();
        let inputs = write_inputs(&self.inputs, &mut body)?;
        Encoder::new(&RequestHead::Score { id: self.id, inputs })?.with_body(&body)
    }
}

impl WorkerRequest {
    /// Encodes the request.
    ///
    /// # Errors
    /// `InvalidData` when it is too large.
    pub fn encode(&self) -> io::Result<Encoded> {
        match self {
            Self::Score(call) => call.encode(),
            Self::Begin { id, task } => encode_plain(&RequestHead::Begin { id: *id, task: task.clone() }),
            Self::Collect { id } => encode_plain(&RequestHead::Collect { id: *id }),
        }
    }

    /// Decodes a request.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not one.
    pub fn decode(head: &[u8], body: &[u8]) -> io::Result<Self> {
        Ok(match decode_plain(head)? {
            RequestHead::Score { id, inputs } => Self::Score(ScoreCall { id, inputs: read_inputs(inputs, body)? }),
            RequestHead::Begin { id, task } => Self::Begin { id, task },
            RequestHead::Collect { id } => Self::Collect { id },
        })
    }
}

impl ScoreReply {
    /// Encodes the reply.
    ///
    /// # Errors
    /// `InvalidData` when it is too large.
    pub fn encode(&self) -> io::Result<Encoded> {
        let mut body = Vec::new();
        let outcome = match &self.outcome {
            Ok(predictions) => {
                write_frame(&predictions.batch, &mut body)?;
                Ok(predictions.unnamed)
            }
            Err(condition) => Err(condition.clone()),
        };
        Encoder::new(&ReplyHead {
            id: self.id,
            outcome,
            warnings: self.warnings.clone(),
            retire: self.retire,
            collections: self.collections,
            convert_nanoseconds: self.convert_nanoseconds,
            score_nanoseconds: self.score_nanoseconds,
        })?
        .with_body(&body)
    }

    /// Decodes a reply.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a reply.
    pub fn decode(head: &[u8], body: &[u8]) -> io::Result<Self> {
        let head: ReplyHead = decode_plain(head)?;
        let outcome = match head.outcome {
            Ok(unnamed) => Ok(Predictions { batch: read_frame(body)?, unnamed }),
            Err(condition) => Err(condition),
        };
        Ok(Self {
            id: head.id,
            outcome,
            warnings: head.warnings,
            retire: head.retire,
            collections: head.collections,
            convert_nanoseconds: head.convert_nanoseconds,
            score_nanoseconds: head.score_nanoseconds,
        })
    }
}
