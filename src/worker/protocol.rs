//! The messages between the front end, a zygote and its workers, and their
//! bytes. A message is a head (postcard) and a body (Arrow IPC streams, one per
//! frame), behind a fixed preamble that carries version and lengths, so that a
//! reader knows what to expect before it allocates anything.
//!
//! ```text
//! "RSC" version:u8 | head length:u32 LE | body length:u32 LE | head | body
//! ```

use std::io;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Condition;
use crate::frame::schema::{Column, Inputs};
use crate::model::manifest::Argument;

/// Version of the protocol; both sides come from one binary, so it only guards
/// against a binary that was replaced while its processes run.
pub const VERSION: u8 = 1;

/// Length of the preamble in bytes.
pub const PREAMBLE: usize = 12;

/// Largest head. A model with a million factor levels fits.
const MAX_HEAD: usize = 64 * 1024 * 1024;

/// From the front end to a zygote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteRequest {
    /// Load a bundle; once, first.
    Load(LoadRequest),
    /// Fork a worker; the worker's end of its socket comes along as a file
    /// descriptor.
    Fork {
        /// Chosen by the front end; names the worker in later messages.
        id: u64,
    },
}

/// From a zygote to the front end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteReply {
    /// The bundle is loaded.
    Loaded(LoadedModel),
    /// It could not be loaded; the zygote ends.
    LoadFailed(Condition),
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
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

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

#[derive(Serialize, Deserialize)]
struct CallHead {
    id: u64,
    inputs: Vec<(String, u32)>,
}

#[derive(Serialize, Deserialize)]
struct ReplyHead {
    id: u64,
    outcome: Result<bool, Condition>,
    warnings: Vec<String>,
    retire: bool,
    convert_nanoseconds: u64,
    score_nanoseconds: u64,
}

/// A message in bytes, preamble included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// All bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Lengths that follow a preamble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// Reads a preamble.
///
/// # Errors
/// `InvalidData` when it is not one, is of another version, or announces more
/// than `max_body` bytes.
pub fn parse_preamble(bytes: &[u8; PREAMBLE], max_body: usize) -> io::Result<Lengths> {
    let [r, s, c, version, h0, h1, h2, h3, b0, b1, b2, b3] = *bytes;
    if [r, s, c] != *b"RSC" {
        return Err(invalid("the peer does not speak the worker protocol"));
    }
    if version != VERSION {
        return Err(invalid(&format!("worker protocol version {version} met version {VERSION}")));
    }
    let head = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
    let body = u32::from_le_bytes([b0, b1, b2, b3]) as usize;
    if head > MAX_HEAD || body > max_body {
        return Err(invalid(&format!("a message of {head} + {body} bytes is over the limit of {max_body}")));
    }
    Ok(Lengths { head, body })
}

/// Encodes a message without frames.
///
/// # Errors
/// `InvalidData` when it can't be serialized or is too large.
pub fn encode_plain<T: Serialize>(message: &T) -> io::Result<Encoded> {
    Encoder::new(message)?.with_body(&[])
}

/// Decodes a message without frames.
///
/// # Errors
/// `InvalidData` when the bytes are not such a message.
pub fn decode_plain<T: DeserializeOwned>(head: &[u8]) -> io::Result<T> {
    postcard::from_bytes(head).map_err(|error| invalid(&format!("unreadable message: {error}")))
}

impl ScoreCall {
    /// Encodes the call.
    ///
    /// # Errors
    /// `InvalidData` when it is too large.
    pub fn encode(&self) -> io::Result<Encoded> {
        let mut body = Vec::new();
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (name, batch) in self.inputs.iter() {
            inputs.push((name.to_owned(), write_frame(batch, &mut body)?));
        }
        Encoder::new(&CallHead { id: self.id, inputs })?.with_body(&body)
    }

    /// Decodes a call.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a call.
    pub fn decode(head: &[u8], body: &[u8]) -> io::Result<Self> {
        let CallHead { id, inputs } = decode_plain(head)?;
        let mut rest = body;
        let mut frames = Vec::with_capacity(inputs.len());
        for (name, length) in inputs {
            let (bytes, after) =
                rest.split_at_checked(length as usize).ok_or_else(|| invalid("a frame is cut short"))?;
            frames.push((name, read_frame(bytes)?));
            rest = after;
        }
        Ok(Self { id, inputs: Inputs::named(frames) })
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
            convert_nanoseconds: head.convert_nanoseconds,
            score_nanoseconds: head.score_nanoseconds,
        })
    }
}

/// Builds a message behind a preamble whose lengths are filled in last.
struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn new<T: Serialize>(head: &T) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(b"RSC");
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 8]);
        let bytes = postcard::to_extend(head, bytes)
            .map_err(|error| invalid(&format!("a message can't be serialized: {error}")))?;
        Ok(Self { bytes })
    }

    fn with_body(mut self, body: &[u8]) -> io::Result<Encoded> {
        let head = self.bytes.len() - PREAMBLE;
        if head > MAX_HEAD {
            return Err(invalid(&format!("a message head of {head} bytes is over the limit of {MAX_HEAD}")));
        }
        self.bytes[4..8].copy_from_slice(&length(head)?);
        self.bytes[8..12].copy_from_slice(&length(body.len())?);
        self.bytes.extend_from_slice(body);
        Ok(Encoded(self.bytes))
    }
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    u32::try_from(bytes)
        .map(u32::to_le_bytes)
        .map_err(|_| invalid("a message of more than 4 GiB can't be sent; send fewer rows per request"))
}

fn write_frame(batch: &RecordBatch, out: &mut Vec<u8>) -> io::Result<u32> {
    let start = out.len();
    let mut writer = StreamWriter::try_new(&mut *out, batch.schema_ref()).map_err(arrow_error)?;
    writer.write(batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    drop(writer);
    u32::try_from(out.len() - start).map_err(|_| invalid("a frame of more than 4 GiB can't be sent"))
}

fn read_frame(bytes: &[u8]) -> io::Result<RecordBatch> {
    let mut reader = StreamReader::try_new(bytes, None).map_err(arrow_error)?;
    reader.next().ok_or_else(|| invalid("a frame without a record batch"))?.map_err(arrow_error)
}

fn arrow_error(error: arrow_schema::ArrowError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
