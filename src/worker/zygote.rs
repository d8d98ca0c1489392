//! The zygote's life: load one bundle, warm up, then fork workers on request and
//! report how they end. It is single-threaded, runs no caller's request itself,
//! and ends with all its workers when the front end closes the control socket.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, pidfd_send_signal,
    setpgid, waitid,
};

use rustix::stdio::{dup2_stderr, dup2_stdout};

use super::engine::Engine;
use super::fork::{Fork, exit_without_handlers, fork};
use super::protocol::{Allotment, ExitStatus, WarmUpRequest, ZygoteReply, ZygoteRequest, decode_plain, encode_plain};
use super::transport::{receive, send};
use super::{limits, scoring_loop, warm_up};

/// Largest body of a message: the rows of a warm-up. The sample that they come
/// from is bounded far below.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// A worker that has not been reaped.
struct Child {
    id: u64,
    pid: Pid,
    process: OwnedFd,
}

/// Why the zygote stopped serving its control socket.
enum Ending {
    /// The front end closed it.
    Closed,
    /// This is a forked worker now.
    Worker { ends: WorkerEnds, allotment: Allotment },
}

/// What a worker has to itself.
struct WorkerEnds {
    socket: UnixStream,
    output: OwnedFd,
    error: OwnedFd,
}

impl WorkerEnds {
    /// In the order in which the front end sends them.
    fn new(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let [socket, output, error] = <[OwnedFd; 3]>::try_from(descriptors).map_err(|descriptors| {
            io::Error::other(format!("a request to fork came with {} descriptors and not 3", descriptors.len()))
        })?;
        Ok(Self { socket: UnixStream::from(socket), output, error })
    }

    /// From now on what R prints is this worker's, by C code too; gives its socket.
    fn settle(self) -> io::Result<UnixStream> {
        dup2_stdout(&self.output)?;
        dup2_stderr(&self.error)?;
        Ok(self.socket)
    }
}

/// Serves the control socket until it closes.
///
/// # Errors
/// When the socket fails or the peer breaks the protocol.
pub fn run(mut control: UnixStream, engine: &mut dyn Engine) -> io::Result<()> {
    let Some(message) = receive(&mut control, 0)? else { return Ok(()) };
    let ZygoteRequest::Load(request) = decode_plain(&message.head)? else {
        return Err(io::Error::other("a zygote's first request must be to load a bundle"));
    };
    match engine.load(&request) {
        Ok(loaded) => reply(&mut control, &ZygoteReply::Loaded(loaded))?,
        Err(condition) => return reply(&mut control, &ZygoteReply::LoadFailed(condition)),
    }

    let mut children = Vec::new();
    match serve(engine, &mut control, &mut children) {
        Ok(Ending::Worker { ends, allotment }) => {
            // A worker must not hold the control socket open: that it closes is how
            // the front end learns that the zygote is gone.
            drop(control);
            drop(children);
            let stream = ends.settle()?;
            bound_memory(allotment.max_growth_bytes);
            serve_worker(engine, stream, request.max_reply_bytes, allotment.workers)
        }
        ended => {
            for child in &children {
                // An idle worker has seen its own socket close; one that computes has
                // nobody left to answer.
                let _ = pidfd_send_signal(&child.process, Signal::KILL);
                let _ = kill_process_group(child.pid, Signal::KILL);
            }
            for child in &children {
                // The front end waits for this process alone: when it is gone, so are they.
                let _ = waitid(WaitId::PidFd(child.process.as_fd()), WaitIdOptions::EXITED);
            }
            ended.map(|_| ())
        }
    }
}

/// A worker that can't be bounded works all the same.
fn bound_memory(max_growth_bytes: u64) {
    for (what, done) in [
        ("volunteer when memory is short", limits::volunteer_when_memory_is_short()),
        ("bound its memory", limits::bound_growth(max_growth_bytes)),
    ] {
        if let Err(error) = done {
            // Reaches the log through the pipe that collects R's own output.
            let _ = writeln!(io::stderr(), "a worker can't {what}: {error}");
        }
    }
}

fn serve_worker(engine: &mut dyn Engine, mut stream: UnixStream, max_reply_bytes: usize, workers: u32) -> ! {
    // What model code starts belongs to its worker, and ends with it (see `reap`).
    let _ = setpgid(None, None);
    engine.after_fork(workers);
    let code = match scoring_loop::run(engine, &mut stream, max_reply_bytes) {
        Ok(()) => 0,
        Err(error) => {
            // Reaches the log through the pipe that collects R's own output.
            let _ = writeln!(io::stderr(), "worker ends: {error}");
            1
        }
    };
    engine.before_exit();
    exit_without_handlers(code)
}

fn serve(engine: &mut dyn Engine, control: &mut UnixStream, children: &mut Vec<Child>) -> io::Result<Ending> {
    loop {
        let mut watched = vec![PollFd::new(&*control, PollFlags::IN)];
        watched.extend(children.iter().map(|child| PollFd::new(&child.process, PollFlags::IN)));
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = watched.iter().map(|watched| !watched.revents().is_empty()).collect();
        drop(watched);

        // Deaths first: the front end learns of a death before it is told that a
        // replacement runs.
        for index in (0..children.len()).rev() {
            if ready[index + 1]
                && let Some(status) = reap(&children[index])?
            {
                let child = children.swap_remove(index);
                reply(control, &ZygoteReply::Exited { id: child.id, status })?;
                engine.after_worker(child.pid);
            }
        }
        if ready[0] {
            let Some(message) = receive(control, MAX_BODY)? else { return Ok(Ending::Closed) };
            match decode_plain(&message.head)? {
                ZygoteRequest::Load(_) => return Err(io::Error::other("a zygote loads only once")),
                ZygoteRequest::WarmUp(_) if !children.is_empty() => {
                    return Err(io::Error::other("a zygote warms up before its first fork"));
                }
                ZygoteRequest::WarmUp(request) => warm_up(engine, control, request, &message.body)?,
                ZygoteRequest::Ping => reply(control, &ZygoteReply::Pong)?,
                ZygoteRequest::Fork { id, allotment } => {
                    if let Some(ends) = fork_worker(control, children, id, message.descriptors)? {
                        return Ok(Ending::Worker { ends, allotment });
                    }
                }
            }
        }
    }
}

fn warm_up(engine: &mut dyn Engine, control: &mut UnixStream, request: WarmUpRequest, body: &[u8]) -> io::Result<()> {
    let (calls, inputs) = request.decode(body)?;
    let report = warm_up::run(engine, calls, &inputs)?;
    reply(control, &ZygoteReply::WarmedUp(report))
}

/// Forks; gives the new worker what is its own, and the zygote nothing.
fn fork_worker(
    control: &mut UnixStream,
    children: &mut Vec<Child>,
    id: u64,
    descriptors: Vec<OwnedFd>,
) -> io::Result<Option<WorkerEnds>> {
    let ends = WorkerEnds::new(descriptors)?;
    match fork() {
        Ok(Fork::Child) => return Ok(Some(ends)),
        Ok(Fork::Parent(pid)) => {
            // Before the next wait, so that the process id can't have been reused.
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            children.push(Child { id, pid, process });
            reply(control, &ZygoteReply::Forked { id, pid: pid.as_raw_nonzero().get() })?;
        }
        Err(error) => reply(control, &ZygoteReply::ForkFailed { id, reason: error.to_string() })?,
    }
    Ok(None)
}

/// Takes note of a worker's end, and ends what its model code started and left
/// running.
fn reap(child: &Child) -> io::Result<Option<ExitStatus>> {
    // Its pidfd said that it has ended, and it isn't reaped yet, so its process id
    // can't have become the group of somebody else. An error means that nothing is left.
    let _ = kill_process_group(child.pid, Signal::KILL);
    let status = waitid(WaitId::PidFd(child.process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(status.as_ref().map(exit_status))
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    ExitStatus::from_parts(status.exit_status(), status.terminating_signal())
}

fn reply(control: &mut UnixStream, message: &ZygoteReply) -> io::Result<()> {
    send(control, &encode_plain(message)?)
}
