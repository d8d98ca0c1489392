//! The front end's side of a zygote that is ready: it forks on request. Deaths of
//! workers, which only their parent can see in full, arrive here as events.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

use super::launch::{Launched, launch};
use super::worker::Worker;
use super::{PoolSettings, StartError};
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ExitStatus, LoadedModel, ZygoteReply, ZygoteRequest, decode_plain, encode_plain};
use crate::worker::transport::{receive_async, send_with_descriptor};

/// How long a fork may take before the zygote counts as hung.
const FORK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a zygote may take to end by itself after its socket closed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a supervisor hears.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker ended; the reason if the front end ended it.
    WorkerEnded { id: u64, status: ExitStatus, expected: Option<DeathReason> },
    /// The zygote of that generation is gone.
    ZygoteEnded { generation: u64 },
    /// A worker needs a successor; whether it still exists.
    TermOver { worker: Weak<()> },
    /// Somebody took a worker out of the pool.
    Refill,
}

/// Workers of one zygote that have not been reaped, and which of them were ended
/// on purpose.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    entries: Arc<Mutex<HashMap<u64, LedgerEntry>>>,
}

#[derive(Debug)]
struct LedgerEntry {
    pid: u32,
    expected: Option<DeathReason>,
}

impl Ledger {
    fn add(&self, id: u64, pid: u32) {
        self.lock().insert(id, LedgerEntry { pid, expected: None });
    }

    /// Notes that a worker is about to be ended and why.
    pub(super) fn expect_end(&self, id: u64, reason: DeathReason) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.expected.get_or_insert(reason);
        }
    }

    fn remove(&self, id: u64) -> Option<DeathReason> {
        self.lock().remove(&id).and_then(|entry| entry.expected)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, LedgerEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Forking = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Pid, String>>>>>;

/// A zygote that has loaded its bundle.
pub(super) struct Zygote {
    generation: u64,
    process_id: u32,
    control: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    process: tokio::sync::Mutex<Child>,
    forking: Forking,
    ledger: Ledger,
    max_reply_bytes: usize,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);
static WORKER_IDS: AtomicU64 = AtomicU64::new(1);

impl Zygote {
    /// Starts the process and waits until it can be forked.
    pub(super) async fn start(
        settings: &PoolSettings,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Result<(Self, LoadedModel), StartError> {
        let Launched { process, control, loaded } = launch(settings).await?;
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let (reader, writer) = control.into_split();
        let zygote = Self {
            generation,
            process_id: process.id().unwrap_or(0),
            control: tokio::sync::Mutex::new(Some(writer)),
            process: tokio::sync::Mutex::new(process),
            forking: Forking::default(),
            ledger: Ledger::default(),
            max_reply_bytes: settings.max_reply_bytes,
        };
        tokio::spawn(read_replies(reader, generation, zygote.forking.clone(), zygote.ledger.clone(), events.clone()));
        Ok((zygote, loaded))
    }

    /// Forks a worker.
    ///
    /// # Errors
    /// The zygote is gone, hangs, or can't fork.
    pub(super) async fn fork(&self) -> io::Result<Worker> {
        let id = WORKER_IDS.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (sender, answer) = oneshot::channel();
        self.lock_forking().insert(id, sender);
        let message = encode_plain(&ZygoteRequest::Fork { id })?;
        let sent = match self.control.lock().await.as_ref() {
            Some(control) => send_with_descriptor(control.as_ref(), &message, theirs.as_fd()).await,
            None => Err(io::Error::other("the zygote is stopping")),
        };
        if let Err(error) = sent {
            self.lock_forking().remove(&id);
            return Err(error);
        }
        drop(theirs);
        let pid = match tokio::time::timeout(FORK_TIMEOUT, answer).await {
            Ok(Ok(Ok(pid))) => pid,
            Ok(Ok(Err(reason))) => return Err(io::Error::other(reason)),
            Ok(Err(_)) => return Err(io::Error::other("the zygote ended while it forked a worker")),
            Err(_) => {
                self.lock_forking().remove(&id);
                // Its supervisor sees the socket close and starts another.
                let _ = self.process.lock().await.start_kill();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the zygote did not fork in time"));
            }
        };
        Worker::new(id, pid, UnixStream::from_std(ours)?, self.ledger.clone(), self.max_reply_bytes)
    }

    /// Number of this zygote among all that the process has started.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Closes the control socket, upon which the zygote ends its workers and itself.
    pub(super) async fn stop(&self) {
        drop(self.control.lock().await.take());
        let mut process = self.process.lock().await;
        if tokio::time::timeout(STOP_TIMEOUT, process.wait()).await.is_err() {
            let _ = process.kill().await;
        }
    }

    fn lock_forking(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Pid, String>>>> {
        self.forking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_replies(
    mut reader: OwnedReadHalf,
    generation: u64,
    forking: Forking,
    ledger: Ledger,
    events: mpsc::UnboundedSender<Event>,
) {
    let take = |id: u64| forking.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    loop {
        let reply = match receive_async(&mut reader, 0).await {
            Ok(Some(message)) => decode_plain::<ZygoteReply>(&message.head),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        match reply {
            Ok(ZygoteReply::Forked { id, pid }) => {
                ledger.add(id, pid.unsigned_abs());
                if let (Some(sender), Some(pid)) = (take(id), Pid::from_raw(pid)) {
                    // Nobody waits any more: the worker's socket closes and it ends.
                    let _ = sender.send(Ok(pid));
                }
            }
            Ok(ZygoteReply::ForkFailed { id, reason }) => {
                if let Some(sender) = take(id) {
                    let _ = sender.send(Err(reason));
                }
            }
            Ok(ZygoteReply::Exited { id, status }) => {
                let expected = ledger.remove(id);
                let _ = events.send(Event::WorkerEnded { id, status, expected });
            }
            Ok(other @ (ZygoteReply::Loaded(_) | ZygoteReply::LoadFailed(_) | ZygoteReply::WarmedUp(_))) => {
                tracing::error!("a zygote said something out of turn: {other:?}");
                break;
            }
            Err(error) => {
                tracing::error!(error = %error, "a zygote's control socket failed");
                break;
            }
        }
    }
    forking.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let _ = events.send(Event::ZygoteEnded { generation });
}

/// The zygote that forks now; replaced as a whole when it dies.
pub(super) struct ZygoteSlot {
    current: RwLock<Arc<Zygote>>,
}

impl ZygoteSlot {
    pub(super) fn new(zygote: Zygote) -> Self {
        Self { current: RwLock::new(Arc::new(zygote)) }
    }

    pub(super) fn current(&self) -> Arc<Zygote> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, zygote: Zygote) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zygote);
    }

    pub(super) async fn stop(&self) {
        let zygote = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        zygote.stop().await;
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        let zygote = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut workers: Vec<u32> = zygote.ledger.lock().values().map(|entry| entry.pid).collect();
        workers.sort_unstable();
        std::iter::once(zygote.process_id).chain(workers).collect()
    }
}
