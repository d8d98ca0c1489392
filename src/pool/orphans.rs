//! Processes whose parent ended before they did: workers of a zygote that was
//! killed, and whatever model code started and left behind. The server adopts
//! them, so that their end is seen and none stays as a zombie; in a container,
//! where it is process 1, they are its own in any case.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, kill_process_group, set_child_subreaper, waitid,
};
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::worker::protocol::ExitStatus;

/// How often zombies are looked for. One that was seen twice has nobody who waits
/// for it.
const INTERVAL: Duration = Duration::from_secs(2);

/// Children that this process started itself, and that the code which started
/// them waits for.
static OWN: LazyLock<Mutex<HashSet<u32>>> = LazyLock::new(Mutex::default);

/// Marks a child as one that is waited for elsewhere, until it is dropped.
pub(super) struct OwnChild(u32);

impl OwnChild {
    pub(super) fn new(process: u32) -> Self {
        own().insert(process);
        Self(process)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        own().remove(&self.0);
    }
}

fn own() -> MutexGuard<'static, HashSet<u32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process the parent of its descendants' orphans and takes note of
/// their ends for as long as the future runs. For a whole program only: children
/// that other code starts and waits for late would be taken from it.
///
/// # Errors
/// The kernel refuses.
pub fn adopt() -> io::Result<impl Future<Output = ()> + Send> {
    set_child_subreaper(Some(getpid()))?;
    Ok(async {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = HashSet::new();
        loop {
            ticks.tick().await;
            let zombies = zombies();
            for process in zombies.intersection(&seen) {
                let Some(process) = i32::try_from(*process).ok().and_then(Pid::from_raw) else { continue };
                // An error means that somebody else was faster.
                let _ = waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
            seen = zombies;
        }
    })
}

/// Children of this process that have ended and are not waited for elsewhere.
fn zombies() -> HashSet<u32> {
    let own = own().clone();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
    children.into_iter().filter(|process| !own.contains(process) && is_zombie(*process)).collect()
}

/// See proc(5), `stat`: the state follows the name, which may hold anything but
/// ends with the last parenthesis.
fn is_zombie(process: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Waits for the end of a worker that has lost its zygote, and ends what its
/// model code left running. How it ended is known only to its parent.
pub(super) async fn end_of(worker: u32, process: OwnedFd) -> ExitStatus {
    // An adopted child tells of its end by a signal; one that went to another parent
    // is looked at now and then.
    let mut children = signal(SignalKind::child()).ok();
    let mut ticks = interval(INTERVAL);
    while !has_ended(&process) {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(()) = next(&mut children) => {}
        }
    }
    let ended =
        |options| waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | options);
    match ended(WaitIdOptions::NOWAIT) {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => return ExitStatus::Unknown,
    }
    // It is a child of ours and not waited for yet, so that its process id can't have
    // become the group of somebody else.
    if let Some(group) = i32::try_from(worker).ok().and_then(Pid::from_raw) {
        let _: Result<(), Errno> = kill_process_group(group, Signal::KILL);
    }
    ended(WaitIdOptions::empty()).ok().flatten().as_ref().map_or(ExitStatus::Unknown, exit_status)
}

async fn next(signals: &mut Option<UnixSignal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => None,
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)).is_ok_and(|ended| ended > 0)
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    ExitStatus::from_parts(status.exit_status(), status.terminating_signal())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn a_child_that_ended_is_a_zombie_until_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Pid::from_child(&child);
        waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(zombies().contains(&child.id()));
        let own = OwnChild::new(child.id());
        assert!(!zombies().contains(&child.id()), "somebody waits for it");
        drop(own);
        child.wait().unwrap();
        assert!(!zombies().contains(&child.id()));
    }
}
