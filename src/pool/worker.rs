//! The front end's side of one worker process: one call at a time over its
//! socket, and the means to end it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;

use super::zygote::Ledger;
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ScoreCall, ScoreReply};
use crate::worker::transport::{receive_async, send_async};

/// The worker died, or said something that is not an answer, during a call.
#[derive(Debug, thiserror::Error)]
#[error("the worker was lost during a call: {0}")]
pub struct WorkerLost(#[from] io::Error);

/// A worker process.
pub struct Worker {
    id: u64,
    stream: UnixStream,
    process: OwnedFd,
    ledger: Ledger,
    calls: u64,
    max_reply_bytes: usize,
    /// Whether the next bytes on the socket belong to a call that was abandoned.
    out_of_step: bool,
}

impl Worker {
    /// Takes charge of a worker that was just forked. `process` is a pidfd, which
    /// keeps a signal from reaching a stranger that got the same process id later.
    pub(super) fn new(
        id: u64,
        pid: Pid,
        stream: UnixStream,
        ledger: Ledger,
        max_reply_bytes: usize,
    ) -> io::Result<Self> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { id, stream, process, ledger, calls: 0, max_reply_bytes, out_of_step: false })
    }

    /// Has one call scored.
    ///
    /// Dropping the future leaves the worker out of step; the pool then replaces it.
    ///
    /// # Errors
    /// [`WorkerLost`] when the process died or broke the protocol. An error of the
    /// model is an answer and is in the reply.
    pub async fn score(&mut self, call: &ScoreCall) -> Result<ScoreReply, WorkerLost> {
        let message = call.encode()?;
        self.out_of_step = true;
        self.calls += 1;
        send_async(&mut self.stream, &message).await?;
        let received = receive_async(&mut self.stream, self.max_reply_bytes)
            .await?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "its socket closed"))?;
        let reply = ScoreReply::decode(&received.head, &received.body)?;
        if reply.id != call.id {
            return Err(WorkerLost(io::Error::other(format!("it answered call {} with {}", call.id, reply.id))));
        }
        self.out_of_step = false;
        Ok(reply)
    }

    /// Whether the worker waits for a call and its socket is open.
    pub(super) fn is_idle_and_alive(&self) -> bool {
        let mut probe = [0; 1];
        !self.out_of_step
            && matches!(self.stream.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends the process at once.
    pub(super) fn end(self, reason: DeathReason) {
        self.ledger.expect_end(self.id, reason);
        self.kill();
    }

    fn kill(&self) {
        // An error means that the process is gone already, which is what is wanted.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// Number of the worker within its pool, for the log.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many calls it has taken.
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An idle worker ends by itself when its socket closes; one that still
        // computes for a call that nobody waits for would go on.
        if self.out_of_step {
            self.ledger.expect_end(self.id, DeathReason::Crashed);
            self.kill();
        }
    }
}
