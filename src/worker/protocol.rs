//! The messages between the front end, a zygote and its workers, and their
//! bytes. A message is a head (postcard) and a body (Arrow IPC streams, one per
//! frame), behind a fixed preamble that carries version and lengths, so that a
//! reader knows what to expect before it allocates anything.
//!
//! ```text
//! "RSC" version:u8 | head length:u32 LE | body length:u32 LE | head | body
//! ```

mod frames;
mod worker;
mod zygote;

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::worker::{Begun, Collected, Predictions, ScoreCall, ScoreReply, Task, WorkerRequest};
pub use self::zygote::{
    Allotment, ExitStatus, LoadRequest, LoadedModel, WarmUpRequest, WarmedUp, ZygoteReply, ZygoteRequest,
};

/// Version of the protocol; both sides come from one binary, so it only guards
/// against a binary that was replaced while its processes run.
pub const VERSION: u8 = 3;

/// Length of the preamble in bytes.
pub const PREAMBLE: usize = 12;

/// Largest head. A model with a million factor levels fits.
const MAX_HEAD: usize = 64 * 1024 * 1024;

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

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
