//! Forking a worker from the zygote. With R's interface, the only code that may
//! be unsafe.

#![expect(unsafe_code, reason = "fork(2) and _exit(2) have no safe wrapper")]

use std::io;

use rustix::process::Pid;
use rustix::thread::Timespec;

/// A joined thread is gone within microseconds, unless the machine is busy.
const SETTLE_ATTEMPTS: u32 = 20;
const SETTLE_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Which side of a fork this is.
pub enum Fork {
    /// The zygote; the child's process id.
    Parent(Pid),
    /// The new worker.
    Child,
}

/// Forks this process.
///
/// # Errors
/// When the process has more than one thread (a fork would copy locks that
/// nobody is left to release), or the system refuses.
pub fn fork() -> io::Result<Fork> {
    let threads = settled_thread_count()?;
    if threads != 1 {
        return Err(io::Error::other(format!(
            "the zygote has {threads} threads and can't be forked; a package started threads while it was loaded \
             (keep BLAS and OpenMP to one thread, or start them in score())"
        )));
    }
    // SAFETY: fork is async-signal-unsafe only for what other threads may be in
    // the middle of, and the check above found no other thread; none can start
    // meanwhile, since only this one runs. Both sides go on with a full copy of
    // the process.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match Pid::from_raw(pid) {
        Some(child) => Fork::Parent(child),
        None => Fork::Child,
    })
}

/// Ends a forked worker at once, without exit handlers: they are the zygote's, and
/// would undo what its other children still use.
pub fn exit_without_handlers(code: i32) -> ! {
    // SAFETY: _exit takes any code, touches no memory of ours and doesn't return.
    unsafe { libc::_exit(code) }
}

/// How many threads this process has, main thread included.
///
/// A thread that was joined a moment ago may still be listed: the kernel wakes
/// the joiner first. So threads beside the main one get a little time to go.
///
/// # Errors
/// `/proc` can't be read.
pub fn settled_thread_count() -> io::Result<usize> {
    for _ in 0..SETTLE_ATTEMPTS {
        if thread_count()? == 1 {
            return Ok(1);
        }
        let _ = rustix::thread::nanosleep(&SETTLE_PAUSE);
    }
    thread_count()
}

fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}
