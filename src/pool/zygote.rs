//! The front end's side of a zygote that is ready: it forks on request. Deaths of
//! workers, which only their parent can see in full, arrive here as events.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::launch::{Launched, launch};
use super::ledger::{Ledger, Life};
use super::process::ZygoteProcess;
use super::worker::Worker;
use super::{PoolSettings, StartError, orphans, output};
use crate::lifecycle::Background;
use crate::worker::protocol::{
    Allotment, ExitStatus, LoadedModel, ZygoteReply, ZygoteRequest, decode_plain, encode_plain,
};
use crate::worker::transport::{receive_async, send_async, send_with_descriptors};

/// How long a zygote may take to end by itself after its socket closed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a supervisor hears.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker ended.
    WorkerEnded { id: u64, status: ExitStatus, life: Life },
    /// A worker needs a successor; whether it still exists.
    TermOver { worker: Weak<()> },
    /// Somebody took a worker out of the pool.
    Refill,
}

type Forking = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Pid, String>>>>>;

type Pinging = Arc<Mutex<Vec<oneshot::Sender<()>>>>;

/// A zygote that has loaded its bundle.
pub(super) struct Zygote {
    process_id: u32,
    started: Instant,
    control: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    process: tokio::sync::Mutex<ZygoteProcess>,
    source: output::Source,
    forking: Forking,
    pinging: Pinging,
    ended: watch::Receiver<bool>,
    has_forked: AtomicBool,
    given_up: AtomicBool,
    ledger: Ledger,
    patience: Duration,
    max_reply_bytes: usize,
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);
static WORKER_IDS: AtomicU64 = AtomicU64::new(1);

impl Zygote {
    /// Starts the process and waits until it can be forked.
    pub(super) async fn start(
        settings: &PoolSettings,
        events: &mpsc::UnboundedSender<Event>,
        ledger: &Ledger,
    ) -> Result<(Self, LoadedModel), StartError> {
        let Launched { process, control, loaded } = launch(settings).await?;
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let (reader, writer) = control.into_split();
        let (end, ended) = watch::channel(false);
        let zygote = Self {
            process_id: process.id().unwrap_or(0),
            started: Instant::now(),
            control: tokio::sync::Mutex::new(Some(writer)),
            source: process.source().clone(),
            process: tokio::sync::Mutex::new(process),
            forking: Forking::default(),
            pinging: Pinging::default(),
            ended,
            has_forked: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            ledger: ledger.clone(),
            patience: settings.upkeep.zygote_timeout,
            max_reply_bytes: settings.max_reply_bytes,
        };
        let listener = Listener {
            generation,
            forking: zygote.forking.clone(),
            pinging: zygote.pinging.clone(),
            ledger: ledger.clone(),
            events: events.clone(),
            background: settings.background.clone(),
        };
        settings.background.spawn("listener of a zygote", async move {
            listener.run(reader).await;
            end.send_replace(true);
        });
        Ok((zygote, loaded))
    }

    /// Process id.
    pub(super) fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Forks a worker that may grow by so many bytes; 0 for no bound. A zygote that does not in time is killed.
    ///
    /// # Errors
    /// The zygote is gone, hangs, or can't fork.
    pub(super) async fn fork(&self, allotment: Allotment) -> io::Result<Worker> {
        let id = WORKER_IDS.fetch_add(1, Ordering::Relaxed);
        match timeout(self.patience, self.fork_worker(id, allotment)).await {
            Ok(worker) => worker,
            Err(_) => {
                self.lock_forking().remove(&id);
                self.give_up().await;
                Err(io::Error::new(io::ErrorKind::TimedOut, "the zygote did not fork in time"))
            }
        }
    }

    async fn fork_worker(&self, id: u64, allotment: Allotment) -> io::Result<Worker> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let pipes = output::Pipes::new()?;
        let (sender, answer) = oneshot::channel();
        self.lock_forking().insert(id, sender);
        let message = encode_plain(&ZygoteRequest::Fork { id, allotment })?;
        let sent = match self.control.lock().await.as_ref() {
            Some(control) => {
                let descriptors = [theirs.as_fd(), pipes.output.as_fd(), pipes.error.as_fd()];
                send_with_descriptors(control.as_ref(), &message, &descriptors).await
            }
            None => Err(io::Error::other("the zygote is stopping")),
        };
        if let Err(error) = sent {
            self.lock_forking().remove(&id);
            return Err(error);
        }
        drop(theirs);
        pipes.collect(&self.source.of_worker(id))?;
        let pid = match answer.await {
            Ok(Ok(pid)) => pid,
            Ok(Err(reason)) => return Err(io::Error::other(reason)),
            Err(_) => return Err(io::Error::other("the zygote ended while it forked a worker")),
        };
        let worker = Worker::new(id, pid, UnixStream::from_std(ours)?, self.ledger.clone(), self.max_reply_bytes)?;
        self.has_forked.store(true, Ordering::Relaxed);
        Ok(worker)
    }

    /// Asks whether it can still answer. A zygote that does not in time is killed.
    ///
    /// # Errors
    /// The zygote is gone or hangs.
    pub(super) async fn ping(&self) -> io::Result<()> {
        let (sender, answer) = oneshot::channel();
        self.pinging.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        let asking = async {
            let message = encode_plain(&ZygoteRequest::Ping)?;
            match self.control.lock().await.as_mut() {
                Some(control) => send_async(control, &message).await?,
                None => return Err(io::Error::other("the zygote is stopping")),
            }
            answer.await.map_err(|_| io::Error::other("the zygote ended before it answered"))
        };
        match timeout(self.patience, asking).await {
            Ok(answered) => answered,
            Err(_) => {
                self.give_up().await;
                Err(io::Error::new(io::ErrorKind::TimedOut, "the zygote did not answer in time"))
            }
        }
    }

    /// Kills a zygote that hangs; its keeper sees the socket close.
    async fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        // An error means that it is gone already.
        let _ = self.process.lock().await.start_kill();
    }

    /// Whether it was killed because it did not answer.
    pub(super) fn was_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Whether it ever forked a worker.
    pub(super) fn has_forked(&self) -> bool {
        self.has_forked.load(Ordering::Relaxed)
    }

    /// Time since it could be forked first.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether its control socket has closed.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves when its control socket has closed.
    pub(super) async fn ended(&self) {
        // The sender is gone only when whoever read the socket is.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Closes the control socket, upon which the zygote ends its workers and itself.
    pub(super) async fn stop(&self) {
        drop(self.control.lock().await.take());
        let mut process = self.process.lock().await;
        if timeout(STOP_TIMEOUT, process.wait()).await.is_err() {
            let _ = process.kill().await;
        }
    }

    fn lock_forking(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Pid, String>>>> {
        self.forking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what a zygote says to whom it is for.
struct Listener {
    generation: u64,
    forking: Forking,
    pinging: Pinging,
    ledger: Ledger,
    events: mpsc::UnboundedSender<Event>,
    background: Background,
}

impl Listener {
    /// Listens until the control socket closes.
    async fn run(self, mut reader: OwnedReadHalf) {
        loop {
            let reply = match receive_async(&mut reader, 0).await {
                Ok(Some(message)) => decode_plain::<ZygoteReply>(&message.head),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match reply {
                Ok(reply) if self.take(&reply) => {}
                Ok(other) => {
                    tracing::error!("a zygote said something out of turn: {other:?}");
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => {
                    tracing::error!(error = %error, "a zygote's control socket failed");
                    break;
                }
            }
        }
        self.forking.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.pinging.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.adopt_workers();
    }

    /// Whether the reply is one that may come at any time.
    fn take(&self, reply: &ZygoteReply) -> bool {
        let asker = |id: &u64| self.forking.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        match reply {
            ZygoteReply::Forked { id, pid } => {
                self.ledger.add(*id, pid.unsigned_abs(), self.generation);
                if let (Some(sender), Some(pid)) = (asker(id), Pid::from_raw(*pid)) {
                    // Nobody waits any more: the worker's socket closes and it ends.
                    let _ = sender.send(Ok(pid));
                }
            }
            ZygoteReply::ForkFailed { id, reason } => {
                if let Some(sender) = asker(id) {
                    let _ = sender.send(Err(reason.clone()));
                }
            }
            ZygoteReply::Exited { id, status } => {
                let life = self.ledger.remove(*id, *status);
                let _ = self.events.send(Event::WorkerEnded { id: *id, status: *status, life });
            }
            ZygoteReply::Pong => {
                for sender in self.pinging.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                    let _ = sender.send(());
                }
            }
            ZygoteReply::Loaded(_) | ZygoteReply::LoadFailed(_) | ZygoteReply::WarmedUp(_) => return false,
        }
        true
    }

    /// Nobody reports the ends of a dead zygote's workers, so they are watched from
    /// here.
    fn adopt_workers(&self) {
        for (id, worker) in self.ledger.workers_of(self.generation) {
            let process = open_process(worker);
            let (ledger, events) = (self.ledger.clone(), self.events.clone());
            self.background.spawn("watcher of an orphan", async move {
                let status = match process {
                    Some(process) => orphans::end_of(worker, process).await,
                    None => ExitStatus::Unknown,
                };
                let life = ledger.remove(id, status);
                let _ = events.send(Event::WorkerEnded { id, status, life });
            });
        }
    }
}

/// None when it is gone.
fn open_process(process: u32) -> Option<OwnedFd> {
    let process = Pid::from_raw(i32::try_from(process).ok()?)?;
    pidfd_open(process, PidfdFlags::empty()).ok()
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
        self.current().stop().await;
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        let zygote = self.current();
        std::iter::once(zygote.process_id()).chain(zygote.ledger.process_ids()).collect()
    }
}
