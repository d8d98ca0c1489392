//! A worker's life: wait for a request, do it, answer, until the front end
//! closes the socket or the engine asks to be replaced.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::net::UnixStream;

use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::engine::Engine;
use super::protocol::{Begun, Collected, ScoreCall, ScoreReply, Task, WorkerRequest, encode_plain};
use super::transport::{receive, send};
use crate::error::Condition;

/// Largest body of a call; the front end bounds calls far below.
const MAX_CALL: usize = u32::MAX as usize;

/// Answers requests until the peer closes the socket.
///
/// # Errors
/// When the socket fails or the peer breaks the protocol; the process then ends
/// and the front end forks another.
pub fn run(engine: &mut dyn Engine, stream: &mut UnixStream, max_reply_bytes: usize) -> io::Result<()> {
    while let Some(message) = receive(stream, MAX_CALL)? {
        match WorkerRequest::decode(&message.head, &message.body)? {
            WorkerRequest::Score(call) => {
                if score(engine, stream, &call, max_reply_bytes)? == After::Leave {
                    break;
                }
                engine.between_calls();
            }
            WorkerRequest::Begin { id, task } => {
                let problem = begin(engine, &task).err();
                send(stream, &encode_plain(&Begun { id, problem })?)?;
            }
            WorkerRequest::Collect { id } => {
                engine.collect_young();
                send(stream, &encode_plain(&Collected { id })?)?;
            }
        }
    }
    Ok(())
}

/// What a worker does after a call.
#[derive(PartialEq, Eq)]
enum After {
    Stay,
    Leave,
}

/// Whatever is printed from now on goes into the task's file, by C code too.
fn begin(engine: &mut dyn Engine, task: &Task) -> Result<(), String> {
    let output = OpenOptions::new().append(true).create(true).open(&task.output);
    let redirected = output.and_then(|output| {
        dup2_stdout(&output)?;
        dup2_stderr(&output)?;
        Ok(())
    });
    redirected.map_err(|error| format!("{}: {error}", task.output.display()))?;
    engine.use_stream(task.stream);
    Ok(())
}

fn score(
    engine: &mut dyn Engine,
    stream: &mut UnixStream,
    call: &ScoreCall,
    max_reply_bytes: usize,
) -> io::Result<After> {
    let outcome = engine.score(&call.inputs);
    let mut reply = ScoreReply {
        id: call.id,
        outcome: outcome.result,
        warnings: outcome.warnings,
        retire: outcome.retire,
        collections: outcome.collections,
        convert_nanoseconds: u64::try_from(outcome.convert.as_nanos()).unwrap_or(u64::MAX),
        score_nanoseconds: u64::try_from(outcome.score.as_nanos()).unwrap_or(u64::MAX),
    };
    let bytes = match reply.encode() {
        Ok(bytes) if bytes.as_bytes().len() <= max_reply_bytes => bytes,
        Ok(bytes) => {
            let length = bytes.as_bytes().len();
            reply.outcome = Err(too_large(&format!(
                "they take {length} bytes, over the limit of {max_reply_bytes} (limits.max_reply_bytes)"
            )));
            reply.encode()?
        }
        Err(error) => {
            reply.outcome = Err(too_large(&error.to_string()));
            reply.encode()?
        }
    };
    send(stream, &bytes)?;
    Ok(if outcome.retire { After::Leave } else { After::Stay })
}

/// An answer in place of predictions that can't be sent; the caller may ask for
/// fewer rows, and the worker is none the worse for it.
fn too_large(why: &str) -> Condition {
    Condition {
        class: vec!["rscore_reply_too_large".to_owned(), "error".to_owned(), "condition".to_owned()],
        message: format!("the predictions can't be sent: {why}"),
        call: None,
    }
}
