//! A worker's life: wait for a call, score it, answer, until the front end
//! closes the socket or the engine asks to be replaced.

use std::io;
use std::os::unix::net::UnixStream;

use super::engine::Engine;
use super::protocol::{ScoreCall, ScoreReply};
use super::transport::{receive, send};
use crate::error::Condition;

/// Largest body of a call; the front end bounds calls far below.
const MAX_CALL: usize = u32::MAX as usize;

/// Answers calls until the peer closes the socket.
///
/// # Errors
/// When the socket fails or the peer breaks the protocol; the process then ends
/// and the front end forks another.
pub fn run(engine: &mut dyn Engine, stream: &mut UnixStream) -> io::Result<()> {
    while let Some(message) = receive(stream, MAX_CALL)? {
        let call = ScoreCall::decode(&message.head, &message.body)?;
        let outcome = engine.score(&call.inputs);
        let mut reply = ScoreReply {
            id: call.id,
            outcome: outcome.result,
            warnings: outcome.warnings,
            retire: outcome.retire,
            convert_nanoseconds: u64::try_from(outcome.convert.as_nanos()).unwrap_or(u64::MAX),
            score_nanoseconds: u64::try_from(outcome.score.as_nanos()).unwrap_or(u64::MAX),
        };
        let bytes = match reply.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                reply.outcome = Err(Condition {
                    class: vec!["rscore_reply_too_large".to_owned(), "error".to_owned()],
                    message: format!("the predictions can't be sent: {error}"),
                    call: None,
                });
                reply.encode()?
            }
        };
        send(stream, &bytes)?;
        if outcome.retire {
            break;
        }
    }
    Ok(())
}
