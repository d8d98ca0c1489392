//! How many workers a version has and how much memory they may take: one per core
//! that the control group allows, and, where it limits memory, as many as fit
//! beside the zygote. Pure arithmetic on what was measured.

use crate::cgroup::Allowance;
use crate::config::settings::WorkerSettings;

/// What the front end keeps for itself: requests in flight, code, caches.
const FRONT_END: u64 = 128 * 1024 * 1024;

/// Of the limit, the part that is never planned with: page tables, page cache of
/// files that are being read, a worker between its growth and its end.
const SPARE_DIVISOR: u64 = 10;

/// Least memory that a worker is expected to have of its own. The allocator keeps
/// what R frees, up to 32 MB more than is in use (`config/worker_environment.rs`).
const LEAST_OF_ITS_OWN: u64 = 48 * 1024 * 1024;

/// A worker also writes to a part of what it shares with the zygote; R's collector
/// marks objects in their headers.
const UNSHARED_DIVISOR: u64 = 5;

/// A call may take this much more than a worker's part before it is stopped: the
/// others rarely need theirs at the same moment.
const HARD_STOP_FACTOR: u64 = 2;

/// What the size of a pool follows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sizing {
    /// Workers per version and R computations at once, before memory is looked at.
    pub workers: usize,
    /// Why so many, in words.
    pub reason: String,
    /// Whether fewer are run where so many do not fit in memory.
    pub follows_memory: bool,
    /// Memory of one version, where the control group limits the server's.
    pub memory: Option<MemoryShare>,
}

impl Sizing {
    /// The sizing on a machine where the process may run on so many cores and
    /// serves so many versions.
    pub fn new(settings: &WorkerSettings, allowance: &Allowance, cores: usize, versions: usize) -> Self {
        let memory = allowance.memory.map(|(limit, _)| MemoryShare::of(limit, versions));
        match settings.count {
            0 => {
                let (workers, why) = allowance.cores(cores);
                let reason = format!("{workers} cores {why}");
                Self { workers, reason, follows_memory: true, memory }
            }
            workers => Self { workers, reason: "workers.count says so".to_owned(), follows_memory: false, memory },
        }
    }
}

/// The memory that the processes of one version may take together, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryShare(u64);

/// How large a worker may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Resident bytes at which a worker is replaced.
    pub(super) max_rss_bytes: u64,
    /// Bytes by which a worker may grow at most.
    pub(super) max_growth_bytes: u64,
}

impl MemoryShare {
    /// An equal part of a limit for each of so many versions.
    pub fn of(limit: u64, versions: usize) -> Self {
        let planned = (limit - limit / SPARE_DIVISOR).saturating_sub(FRONT_END);
        Self(planned / versions.max(1) as u64)
    }

    /// Workers that fit beside a zygote of that size, in bytes.
    pub(super) fn workers(self, zygote: u64) -> usize {
        let each = LEAST_OF_ITS_OWN.max(zygote / UNSHARED_DIVISOR);
        let fit = self.0.saturating_sub(zygote) / each;
        usize::try_from(fit).unwrap_or(usize::MAX).max(1)
    }

    /// Bounds for so many workers.
    pub(super) fn bounds(self, zygote: u64, workers: usize) -> Bounds {
        let part = self.0.saturating_sub(zygote) / workers.max(1) as u64;
        // A model that does not fit is served all the same: the bounds then leave a
        // worker what any needs.
        let part = part.max(LEAST_OF_ITS_OWN);
        Bounds { max_rss_bytes: zygote + part, max_growth_bytes: part * HARD_STOP_FACTOR }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    #[test]
    fn workers_follow_cores_unless_their_number_is_set() {
        let allowance = Allowance {
            cpu_quota: Some((4.0, "cpu.max")),
            memory: Some((2000 * MB, "memory.max")),
            ..Allowance::default()
        };
        let sizing = |count| {
            let settings = WorkerSettings { count, ..WorkerSettings::default() };
            Sizing::new(&settings, &allowance, 8, 2)
        };
        let own = sizing(0);
        assert_eq!((own.workers, own.reason.as_str(), own.follows_memory), (4, "4 cores by cgroup cpu.max", true));
        assert_eq!(own.memory, Some(MemoryShare(836 * MB)));
        let set = sizing(16);
        assert_eq!((set.workers, set.follows_memory, set.memory), (16, false, own.memory));
    }

    #[test]
    fn versions_share_what_the_front_end_leaves() {
        assert_eq!(MemoryShare::of(2000 * MB, 1), MemoryShare(1672 * MB));
        assert_eq!(MemoryShare::of(2000 * MB, 2), MemoryShare(836 * MB));
        assert_eq!(MemoryShare::of(2000 * MB, 0), MemoryShare(1672 * MB));
        assert_eq!(MemoryShare::of(MB, 1), MemoryShare(0));
    }

    #[test]
    fn workers_follow_memory() {
        let share = MemoryShare(1672 * MB);
        assert_eq!(share.workers(100 * MB), 32, "48 MB each");
        assert_eq!(share.workers(500 * MB), 11, "a fifth of the model each");
        assert_eq!(share.workers(1600 * MB), 1);
        assert_eq!(MemoryShare(0).workers(100 * MB), 1, "a model is served, whatever it takes");
    }

    #[test]
    fn a_worker_may_grow_by_its_part_and_is_stopped_at_twice_that() {
        let bounds = MemoryShare(900 * MB).bounds(100 * MB, 4);
        assert_eq!(bounds, Bounds { max_rss_bytes: 300 * MB, max_growth_bytes: 400 * MB });
        let tight = MemoryShare(0).bounds(100 * MB, 2);
        assert_eq!(tight.max_rss_bytes, 148 * MB);
        assert_eq!(tight.max_growth_bytes, 96 * MB);
    }
}
