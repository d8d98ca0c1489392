//! Starting the zygote's process: `rscore worker` in a process group of its own,
//! with a chosen environment, its control socket as standard input, and its
//! output collected line by line.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::PoolSettings;
use super::orphans::OwnChild;
use super::output;

/// A zygote's process, which is waited for here and by nobody else.
pub(super) struct ZygoteProcess {
    child: Child,
    source: output::Source,
    _own: Option<OwnChild>,
}

impl ZygoteProcess {
    /// Whose output it is that is collected.
    pub(super) fn source(&self) -> &output::Source {
        &self.source
    }
}

impl Deref for ZygoteProcess {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for ZygoteProcess {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Starts a zygote; returns the process and the front end's end of its control
/// socket.
pub(super) fn spawn(settings: &PoolSettings) -> io::Result<(ZygoteProcess, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut child = Command::new(&settings.executable)
        .arg("worker")
        .env_clear()
        .envs(settings.environment.iter().map(|(name, value)| (name, value)))
        // R restores a workspace that it finds where it starts.
        .current_dir("/")
        // A terminal's interrupt is for the front end, which drains; and one signal
        // to the group reaches every worker.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let source = output::Source::new(settings);
    if let Some(stdout) = child.stdout.take() {
        output::collect(source.clone(), output::Stream::Standard, stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        output::collect(source.clone(), output::Stream::Error, stderr);
    }
    let own = child.id().map(OwnChild::new);
    Ok((ZygoteProcess { child, source, _own: own }, UnixStream::from_std(ours)?))
}
