//! The front end's side of one worker process: one call at a time over its
//! socket, and the means to end it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::ledger::Ledger;
use super::memory::resident_bytes;
use super::upkeep::{EndOfTerm, Life, Upkeep};
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{
    Begun, Collected, Encoded, ExitStatus, ScoreCall, ScoreReply, Task, WorkerRequest, decode_plain,
};
use crate::worker::transport::{Received, receive_async, send_async};

/// The worker died, or said something that is not an answer, during a call.
#[derive(Debug, thiserror::Error)]
#[error("the worker was lost during a call: {0}")]
pub struct WorkerLost(#[from] io::Error);

/// How a call ended that had a deadline and brought no answer in time.
#[derive(Debug, thiserror::Error)]
pub enum CallEnd {
    /// The worker died, or said something that is not an answer.
    #[error(transparent)]
    Lost(#[from] WorkerLost),
    /// The deadline passed. A recovered worker stopped when it was interrupted and
    /// can take the next call; any other must be discarded.
    #[error("the call took too long; the worker {}", if *.recovered { "stopped it" } else { "did not stop it" })]
    TimedOut {
        /// Whether the worker is in step again.
        recovered: bool,
    },
}

/// Why a task was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The worker is lost, or did not answer in time.
    #[error(transparent)]
    Ended(#[from] CallEnd),
    /// The worker lives and can't write the file.
    #[error("a worker can't write its output: {0}")]
    Refused(String),
}

/// How a worker process ended, which its parent tells a moment after its socket
/// has closed.
#[derive(Debug)]
pub enum WorkerEnd {
    /// It is known already.
    Known(ExitStatus),
    /// It is being waited for.
    Awaited(watch::Receiver<Option<ExitStatus>>),
}

impl WorkerEnd {
    /// Waits for it, for a short while.
    pub async fn status(&mut self) -> ExitStatus {
        let ended = match self {
            Self::Known(status) => return *status,
            Self::Awaited(ended) => ended,
        };
        match timeout(END_TIMEOUT, ended.wait_for(Option::is_some)).await {
            Ok(Ok(status)) => status.unwrap_or(ExitStatus::Unknown),
            _ => ExitStatus::Unknown,
        }
    }
}

/// A worker process.
pub struct Worker {
    id: u64,
    stream: UnixStream,
    process: Arc<OwnedFd>,
    ledger: Ledger,
    calls: u64,
    /// How often R has collected garbage, by its last answer.
    collections: u32,
    /// What the first call took.
    first_call: Option<Duration>,
    max_reply_bytes: usize,
    /// Whether the next bytes on the socket belong to a call that was abandoned.
    out_of_step: bool,
    pid: u32,
    started: Instant,
    resident: Resident,
    /// When a successor was last asked for.
    succession: Option<Instant>,
    /// When the last call ended since which nothing was collected.
    uncollected: Option<Instant>,
    /// Lives as long as the worker, for whoever must know that and not keep it.
    alive: Arc<()>,
    /// Tells how it ended. Asked for at the beginning: its parent may report the end
    /// before anybody here has seen the socket close, and then it is forgotten.
    ended: Option<watch::Receiver<Option<ExitStatus>>>,
}

/// Resident memory of a worker, not read too often.
struct Resident {
    /// As it was just forked, when it shares all with its zygote.
    fresh: u64,
    bytes: u64,
    read: Instant,
}

/// How long a reading of a worker's memory is good for: a reading takes some
/// microseconds, and a call that leaks 40 MB may take 15 ms.
const RESIDENT_INTERVAL: Duration = Duration::from_millis(100);

/// How long it may take until it is known how a worker ended.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a worker waits for its successor before it asks again.
const SUCCESSION_PAUSE: Duration = Duration::from_secs(5);

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
        let process = Arc::new(pidfd_open(pid, PidfdFlags::empty())?);
        let started = Instant::now();
        let ended = ledger.end_of(id);
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let fresh = resident_bytes(pid);
        Ok(Self {
            id,
            stream,
            process,
            ledger,
            calls: 0,
            collections: 0,
            first_call: None,
            max_reply_bytes,
            out_of_step: false,
            pid,
            started,
            resident: Resident { fresh, bytes: fresh, read: started },
            succession: None,
            uncollected: None,
            alive: Arc::default(),
            ended,
        })
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
        self.calls += 1;
        let began = Instant::now();
        let received = self.ask(&message).await?;
        self.first_call.get_or_insert_with(|| began.elapsed());
        let reply = ScoreReply::decode(&received.head, &received.body)?;
        if reply.id != call.id {
            return Err(WorkerLost(io::Error::other(format!("it answered call {} with {}", call.id, reply.id))));
        }
        self.out_of_step = false;
        self.collections = reply.collections;
        self.uncollected = Some(Instant::now());
        Ok(reply)
    }

    /// Has the worker begin a task: the calls that follow have its random stream, and
    /// what R prints goes into its file. There is no R in it that could be interrupted.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin_until(&mut self, task: Task, deadline: Instant) -> Result<(), BeginError> {
        if deadline <= Instant::now() {
            return Err(CallEnd::TimedOut { recovered: !self.out_of_step }.into());
        }
        match timeout_at(deadline.into(), self.begin(task)).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(problem))) => Err(BeginError::Refused(problem)),
            Ok(Err(lost)) => Err(CallEnd::Lost(lost).into()),
            Err(_) => Err(CallEnd::TimedOut { recovered: false }.into()),
        }
    }

    /// What hinders the worker, if anything does.
    async fn begin(&mut self, task: Task) -> Result<Option<String>, WorkerLost> {
        let id = self.calls;
        let received = self.ask(&WorkerRequest::Begin { id, task }.encode()?).await?;
        let Begun { id: begun, problem } = decode_plain(&received.head)?;
        if begun != id {
            return Err(WorkerLost(io::Error::other(format!("it answered {id} with {begun}"))));
        }
        self.out_of_step = false;
        Ok(problem)
    }

    /// Resident memory of the process in bytes.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid)
    }

    /// Has R collect what became garbage since the worker was forked.
    ///
    /// # Errors
    /// As [`Worker::score`].
    pub(super) async fn collect(&mut self) -> Result<(), WorkerLost> {
        self.uncollected = None;
        // The socket keeps requests and answers in order; an id tells nothing here.
        let id = self.calls;
        let received = self.ask(&WorkerRequest::Collect { id }.encode()?).await?;
        let Collected { id: collected } = decode_plain(&received.head)?;
        if collected != id {
            return Err(WorkerLost(io::Error::other(format!("it answered {id} with {collected}"))));
        }
        self.out_of_step = false;
        Ok(())
    }

    /// Whether it scored, and has been idle for so long since without collecting.
    pub(super) fn may_collect(&self, idle: Duration) -> bool {
        !idle.is_zero() && self.uncollected.is_some_and(|since| since.elapsed() >= idle)
    }

    /// Sends a message and waits for the answer; the caller judges whether it is one.
    async fn ask(&mut self, message: &Encoded) -> io::Result<Received> {
        self.out_of_step = true;
        self.ledger.asked(self.id);
        send_async(&mut self.stream, message).await?;
        receive_async(&mut self.stream, self.max_reply_bytes)
            .await?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "its socket closed"))
    }

    /// Has one call scored until a deadline. R is then interrupted, and has `grace`
    /// to stop where it is safe to.
    ///
    /// # Errors
    /// See [`CallEnd`].
    pub async fn score_until(
        &mut self,
        call: &ScoreCall,
        deadline: Instant,
        grace: Duration,
    ) -> Result<ScoreReply, CallEnd> {
        if deadline <= Instant::now() {
            // Nothing was begun.
            return Err(CallEnd::TimedOut { recovered: !self.out_of_step });
        }
        let process = self.process.clone();
        let mut answer = std::pin::pin!(self.score(call));
        if let Ok(answer) = timeout_at(deadline.into(), &mut answer).await {
            return answer.map_err(CallEnd::Lost);
        }
        // Twice, for the first may come before the worker has read a call whose
        // deadline is very short, and would be forgotten.
        for part in [grace / 4, grace - grace / 4] {
            interrupt(&process);
            if let Ok(answer) = timeout(part, &mut answer).await {
                // An answer means that R has stopped, whatever it says: that of a call which
                // ended by itself a moment too late as well.
                return Err(CallEnd::TimedOut { recovered: answer.is_ok_and(|reply| !reply.retire) });
            }
        }
        Err(CallEnd::TimedOut { recovered: false })
    }

    /// Asks R to stop the call that it is in. Without one this does nothing: a
    /// worker forgets interrupts before each call.
    pub fn interrupt(&self) {
        interrupt(&self.process);
    }

    /// Whether the worker waits for a call and its socket is open.
    pub(super) fn is_idle_and_alive(&self) -> bool {
        let mut probe = [0; 1];
        !self.out_of_step
            && matches!(self.stream.try_read(&mut probe), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it has served its term.
    pub(super) fn end_of_term(&mut self, upkeep: &Upkeep) -> Option<EndOfTerm> {
        upkeep.end_of_term(Life {
            calls: self.calls,
            collections: u64::from(self.collections),
            resident_bytes: self.excess_memory(upkeep),
            age: self.started.elapsed(),
            first_call: self.first_call.unwrap_or_default(),
        })
    }

    /// Resident bytes where they tell something; a bound that a fresh worker is
    /// over already would have the pool fork without end.
    fn excess_memory(&mut self, upkeep: &Upkeep) -> u64 {
        if upkeep.max_rss_bytes == 0 || self.is_born_over(upkeep) {
            return 0;
        }
        if self.resident.read.elapsed() >= RESIDENT_INTERVAL {
            self.resident.bytes = resident_bytes(self.pid);
            self.resident.read = Instant::now();
        }
        self.resident.bytes
    }

    /// Whether it was over the bound on memory when it was forked.
    pub(super) fn is_born_over(&self, upkeep: &Upkeep) -> bool {
        upkeep.max_rss_bytes > 0 && self.resident.fresh > upkeep.max_rss_bytes
    }

    /// Whether it is time to ask for a successor; notes that it was done.
    pub(super) fn asks_for_successor(&mut self) -> bool {
        let now = Instant::now();
        let due = self.succession.is_none_or(|asked| now - asked >= SUCCESSION_PAUSE);
        if due {
            self.succession = Some(now);
        }
        due
    }

    /// Tells whether the worker still exists, without keeping it.
    pub(super) fn life(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    /// Ends an idle worker in good order: it sees its socket close.
    pub(super) fn retire(self, why: EndOfTerm) {
        let reason = match why {
            EndOfTerm::Memory(_) => DeathReason::Memory,
            EndOfTerm::Calls(_) | EndOfTerm::Collections(_) | EndOfTerm::Age(_) => DeathReason::Retired,
        };
        self.ledger.expect_end(self.id, reason);
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

    /// Tells how it ended, once it has.
    pub fn watch_end(&self) -> WorkerEnd {
        self.ended.clone().map_or(WorkerEnd::Known(ExitStatus::Unknown), WorkerEnd::Awaited)
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

fn interrupt(process: &OwnedFd) {
    // An error means that the process is gone, which its socket tells as well.
    let _ = pidfd_send_signal(process, Signal::INT);
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
