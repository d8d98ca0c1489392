//! How many workers a version has and how much memory they may take: one per core
//! that the control group allows, and, where it limits memory, as many as fit
//! beside the zygote, while another generation of the version is loaded. Pure
//! arithmetic on what was measured.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use crate::cgroup::Allowance;
use crate::config::settings::WorkerSettings;

/// What the front end keeps for itself: requests in flight, code, caches.
const FRONT_END: u64 = 128 * 1024 * 1024;

/// Of the limit, the part that is never planned with: page tables, page cache of
/// files that are being read, a worker between its growth and its end.
const SPARE_DIVISOR: u64 = 10;

/// Generations that there may be beside those that serve: the one that is being
/// loaded, or the one before it that answers its last requests. Where memory is
/// limited the reloader (`app/reload.rs`) sees to it that there are no more.
const BESIDE: u64 = 1;

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
    /// The sizing of this process when it serves so many versions.
    pub fn of_this_process(settings: &WorkerSettings, versions: usize) -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::new(settings, &Allowance::of_this_process(), cores, versions)
    }

    /// The sizing of this process when it loads one model once, and no successor ever
    /// stands beside it.
    pub fn of_a_batch_run(settings: &WorkerSettings) -> Self {
        let memory = Allowance::of_this_process().memory.map(|(limit, _)| MemoryShare::among(limit, 1));
        Self { memory, ..Self::of_this_process(settings, 1) }
    }

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

    /// Workers of a version whose zygote has that size, in bytes.
    pub fn workers_beside(&self, zygote: u64) -> usize {
        match self.memory.filter(|_| self.follows_memory) {
            Some(share) => self.workers.min(share.workers(zygote)),
            None => self.workers,
        }
    }
}

/// The memory that the processes of one generation may take together, in bytes.
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
    /// An equal part of a limit for each generation that so many versions may have.
    pub fn of(limit: u64, versions: usize) -> Self {
        Self::among(limit, versions.max(1) as u64 + BESIDE)
    }

    fn among(limit: u64, generations: u64) -> Self {
        let planned = (limit - limit / SPARE_DIVISOR).saturating_sub(FRONT_END);
        Self(planned / generations)
    }

    /// The limit under which so many workers of the only version fit, when a generation
    /// is expected to take that much, in bytes.
    pub fn limit_for(generation: u64, zygote: u64, workers: usize) -> u64 {
        let part = generation.max(zygote + Self::of_a_worker(zygote) * workers as u64);
        let planned = part * (1 + BESIDE) + FRONT_END;
        (planned * SPARE_DIVISOR).div_ceil(SPARE_DIVISOR - 1)
    }

    fn of_a_worker(zygote: u64) -> u64 {
        LEAST_OF_ITS_OWN.max(zygote / UNSHARED_DIVISOR)
    }

    /// Workers that fit beside a zygote of that size, in bytes.
    pub(super) fn workers(self, zygote: u64) -> usize {
        let fit = self.0.saturating_sub(zygote) / Self::of_a_worker(zygote);
        usize::try_from(fit).unwrap_or(usize::MAX).max(1)
    }

    /// Bounds for so many workers.
    pub(super) fn bounds(self, zygote: u64, workers: usize) -> Bounds {
        let room = self.0.saturating_sub(zygote);
        // A model that does not fit is served all the same: the bounds then leave a
        // worker what any needs.
        let part = (room / workers.max(1) as u64).max(LEAST_OF_ITS_OWN);
        // A worker that is alone has no others whose parts it could use.
        let most = room.max(LEAST_OF_ITS_OWN * HARD_STOP_FACTOR);
        Bounds { max_rss_bytes: zygote + part, max_growth_bytes: (part * HARD_STOP_FACTOR).min(most) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(own.memory, Some(MemoryShare(1672 * MB / 3)), "two versions, one of which is loaded again");
        let set = sizing(16);
        assert_eq!((set.workers, set.follows_memory, set.memory), (16, false, own.memory));
    }

    #[test]
    fn the_limit_is_read_off_control_groups() {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("proc/self/cgroup", "0::/pod"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"),
            ("sys/fs/cgroup/pod/cpu.max", "800000 100000"),
            ("sys/fs/cgroup/pod/memory.max", "1073741824"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let allowance = Allowance::read(root.path());
        let workers = |versions| Sizing::new(&WorkerSettings::default(), &allowance, 16, versions);
        let (one, two) = (workers(1), workers(2));
        assert_eq!((one.workers, two.workers), (8, 8));
        // 1024 MB without a tenth and without the front end's, in two or three parts.
        assert_eq!((one.workers_beside(100 * MB), two.workers_beside(100 * MB)), (6, 3));
    }

    #[test]
    fn generations_share_what_the_front_end_leaves() {
        assert_eq!(MemoryShare::of(2000 * MB, 1), MemoryShare(836 * MB), "the one that serves and the next");
        assert_eq!(MemoryShare::of(2000 * MB, 3), MemoryShare(418 * MB));
        assert_eq!(MemoryShare::of(2000 * MB, 0), MemoryShare(836 * MB));
        assert_eq!(MemoryShare::of(MB, 1), MemoryShare(0));
    }

    #[test]
    fn two_generations_of_all_workers_fit_together() {
        for limit in [700 * MB, 2000 * MB, 16_000 * MB] {
            for zygote in [80 * MB, 150 * MB, 300 * MB] {
                let share = MemoryShare::of(limit, 1);
                let each = LEAST_OF_ITS_OWN.max(zygote / UNSHARED_DIVISOR);
                let generation = zygote + each * share.workers(zygote) as u64;
                let fits = 2 * generation + FRONT_END <= limit;
                assert!(fits || share.workers(zygote) == 1, "{limit} {zygote}: {generation}");
            }
        }
    }

    #[test]
    fn a_limit_that_was_recommended_has_room_for_what_it_is_for() {
        for (generation, zygote, workers) in
            [(300 * MB, 100 * MB, 2), (100 * MB, 100 * MB, 64), (9000 * MB, 4000 * MB, 4)]
        {
            let limit = MemoryShare::limit_for(generation, zygote, workers);
            let share = MemoryShare::of(limit, 1);
            assert!(share.0 >= generation && share.workers(zygote) >= workers, "{limit}");
            let less = MemoryShare::of(limit - 16 * MB, 1);
            assert!(less.0 < generation || less.workers(zygote) < workers, "{limit} is more than is needed");
        }
    }

    #[test]
    fn workers_follow_memory_unless_their_number_is_set() {
        let memory = Some(MemoryShare(400 * MB));
        let sizing = Sizing { workers: 8, reason: String::new(), follows_memory: true, memory };
        assert_eq!(sizing.workers_beside(100 * MB), 6);
        assert_eq!(Sizing { workers: 2, ..sizing.clone() }.workers_beside(100 * MB), 2, "no more than cores");
        assert_eq!(Sizing { follows_memory: false, ..sizing.clone() }.workers_beside(100 * MB), 8);
        assert_eq!(Sizing { memory: None, ..sizing }.workers_beside(100 * MB), 8);
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

    #[test]
    fn a_worker_alone_is_stopped_before_the_limit() {
        let bounds = MemoryShare(900 * MB).bounds(100 * MB, 1);
        assert_eq!(bounds, Bounds { max_rss_bytes: 900 * MB, max_growth_bytes: 800 * MB });
    }
}
