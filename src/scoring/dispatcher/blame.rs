//! Whether a request is to blame for the workers that were lost with it. Most
//! ends are the work of what ran in the worker; SIGKILL and SIGTERM are what
//! somebody else sends (an operator, the kernel that is out of memory), and say
//! little about the request that happened to be there.

use crate::pool::WorkerEnd;
use crate::worker::protocol::ExitStatus;

/// Workers that one request may end by itself.
const CRASHES: usize = 2;

/// Workers that one request may lose whatever ended them. So many kills in a row
/// are no accident: it may take the memory that the kernel kills for.
const LOSSES: usize = 4;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The workers that were lost with one request.
#[derive(Debug, Default)]
pub(super) struct Losses {
    ends: Vec<WorkerEnd>,
}

impl Losses {
    /// Notes the loss of a worker.
    pub(super) fn add(&mut self, end: WorkerEnd) {
        self.ends.push(end);
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Whether the request must not be tried again. The first loss is never looked
    /// into, so that the second attempt is not late.
    pub(super) async fn are_enough(&mut self) -> bool {
        if self.ends.len() < CRASHES {
            return false;
        }
        let mut statuses = Vec::new();
        for end in &mut self.ends {
            statuses.push(end.status().await);
        }
        are_enough(&statuses)
    }
}

fn are_enough(statuses: &[ExitStatus]) -> bool {
    let crashes = statuses.iter().filter(|status| !may_come_from_outside(**status)).count();
    crashes >= CRASHES || statuses.len() >= LOSSES
}

/// Whose end is not known had lost its zygote as well.
fn may_come_from_outside(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Signal(SIGKILL | SIGTERM) | ExitStatus::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_crashes_are_enough_and_kills_are_counted_apart() {
        let (segfault, quit) = (ExitStatus::Signal(11), ExitStatus::Code(3));
        let (killed, unknown) = (ExitStatus::Signal(SIGKILL), ExitStatus::Unknown);
        for enough in [
            vec![segfault, quit],
            vec![killed, quit, segfault],
            vec![killed; LOSSES],
            vec![quit, killed, unknown, killed],
        ] {
            assert!(are_enough(&enough), "{enough:?}");
        }
        for few in [vec![], vec![quit], vec![killed, killed], vec![killed, segfault, unknown]] {
            assert!(!are_enough(&few), "{few:?}");
        }
    }
}
