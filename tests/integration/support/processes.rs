//! The processes of a server, found by a variable in their environment rather
//! than by the server's own books: a worker that it forgot is found too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::DEADLINE;

/// Name of the variable; its value is a server's own. It does not begin as the
/// server's settings do.
pub const MARKER: &str = "TEST_SERVER_OF_RSCORE";

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// Current directory: for zygote and workers, the bundle.
    pub directory: PathBuf,
}

/// The processes whose environment has the marker with this value.
pub fn marked(marker: &str) -> Vec<Process> {
    let variable = format!("{MARKER}={marker}").into_bytes();
    let entries = fs::read_dir("/proc").expect("/proc");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_marked = |id: &u32| {
        // One that has ended has no environment, even before its parent looked.
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable)
    };
    ids.filter(is_marked).filter_map(read).collect()
}

/// The process that started a process, or adopted it.
pub fn parent(id: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn read(id: u32) -> Option<Process> {
    let parent = parent(id)?;
    let directory = fs::read_link(format!("/proc/{id}/cwd")).ok()?;
    Some(Process { id, parent, directory })
}

impl Process {
    /// Whether it serves a version of this model.
    pub fn serves(&self, model: &str) -> bool {
        let name =
            |path: Option<&Path>| path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        // In the cache of a store the name of a folder tells the model: scale-1-6c1d7a31e8f0b2c4.
        match name(self.directory.parent()).as_str() {
            "contents" => name(Some(&self.directory)).rsplitn(3, '-').nth(2) == Some(model),
            folder => folder == model,
        }
    }
}

/// Waits until none of the processes with the marker is left; gives those that
/// stay.
pub fn remaining(marker: &str) -> Vec<Process> {
    let until = Instant::now() + DEADLINE;
    for process in marked(marker) {
        // Gone already is as good.
        if let Ok(handle) = pidfd_open(pid(process.id), PidfdFlags::empty()) {
            wait(&handle, until);
        }
    }
    marked(marker)
}

fn wait(process: &OwnedFd, until: Instant) {
    // Signals interrupt it: the end of another child is one.
    while let Err(Errno::INTR) = poll_until(process, until) {}
}

fn poll_until(process: &OwnedFd, until: Instant) -> Result<usize, Errno> {
    let left = until.saturating_duration_since(Instant::now());
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left.try_into().expect("some seconds")))
}

/// Whether a process has not ended.
pub fn runs(id: u32) -> bool {
    // One that has ended and was not yet reaped has no program any more.
    fs::read_link(format!("/proc/{id}/exe")).is_ok()
}

/// Process ids of the children of a process, zombies too.
pub fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<_>>()).collect()
}

/// Name of the program that a process runs.
pub fn command(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned()
}

/// Sends a signal to a process of a test.
pub fn send_signal(id: u32, signal: Signal) {
    kill_process(pid(id), signal).expect("the process is there");
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id")
}

/// Addresses (IPv4) that a process listens on. Its log says so too, but a log
/// is for people.
pub fn listeners(id: u32) -> Vec<SocketAddr> {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            // See proc(5): number, local address, remote address, state, …, inode in the tenth field.
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(3) == Some(&"0A");
            let own = fields.get(9).is_some_and(|inode| sockets.iter().any(|socket| socket == inode));
            (listens && own).then(|| address(fields[1])).flatten()
        })
        .collect()
}

/// `0100007F:1F90`: the address in the machine's byte order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    Some(SocketAddr::from((Ipv4Addr::from(address), u16::from_str_radix(port, 16).ok()?)))
}
