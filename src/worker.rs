//! The worker process. `rscore worker` starts as a zygote: it loads packages,
//! model and scoring script into an embedded R once, then forks workers on
//! request. Zygote and workers speak [`protocol`] over Unix sockets and know
//! nothing of HTTP, pools or other models.
//!
//! Everything here is synchronous and runs on the process's main thread: R
//! checks its stack against that thread, and a fork copies no other.

mod collector;
pub mod engine;
mod fork;
mod limits;
pub mod protocol;
mod r;
pub mod scoring_loop;
pub mod transport;
mod warm_up;
mod zygote;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::fcntl_dupfd_cloexec;

/// Runs the zygote of one model version until its control socket closes. The
/// control socket is file descriptor 0: a plain `Command` can hand it over
/// without unsafe code and without a race with other spawns.
///
/// # Errors
/// When standard input is not a socket, or the socket fails.
pub fn run() -> std::io::Result<()> {
    let control = take_standard_input()?;
    let mut engine = r::REngine::start();
    zygote::run(control, &mut engine)
}

/// Moves the control socket away from descriptor 0 and puts `/dev/null` there,
/// so that model code which reads standard input finds it empty.
fn take_standard_input() -> std::io::Result<UnixStream> {
    let stdin = std::io::stdin();
    let control = fcntl_dupfd_cloexec(stdin.as_fd(), 3)?;
    if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&control)?.st_mode).is_socket() {
        return Err(std::io::Error::other(
            "standard input is not a control socket: `rscore worker` is started by the server, not by hand",
        ));
    }
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(control))
}
