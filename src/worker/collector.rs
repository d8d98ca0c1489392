//! When a worker collects garbage between two calls. R collects when its room is
//! used up, in the middle of a call, and until then a worker writes to ever more
//! pages that it shared with its siblings before. Between calls nearly everything
//! young is garbage, so that a collection there costs little and keeps the worker
//! small; how often is a matter of what it costs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A collection is due when a worker that shares memory with nobody has computed for so
/// many times what the last one took. Of several workers each is to keep the less to
/// itself, and may spend the more on it.
const PERIOD: u32 = 48;

/// However many workers there are, at most one part in 7 of their time goes into
/// collections.
const SHORTEST_PERIOD: u32 = 6;

/// Later than this R collects by itself.
const LONGEST_PERIOD: u32 = 32;

/// What the first collection is expected to take.
const EXPECTED: Duration = Duration::from_millis(1);

/// The collections of one worker, in CPU time of its process.
#[derive(Debug, Clone)]
pub struct Pace {
    collections: u32,
    /// When the last one ended.
    last: Duration,
    /// What the last one took.
    cost: Duration,
    /// How many times that is between two of them.
    period: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self::begin(Duration::ZERO, 1)
    }
}

impl Pace {
    /// That of a worker which was forked just now, one of so many.
    pub fn begin(now: Duration, workers: u32) -> Self {
        let period = (PERIOD / workers.max(1)).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        Self { collections: 0, last: now, cost: EXPECTED, period }
    }

    /// Takes note of how many collections there were since the fork, whoever began them.
    pub fn observe(&mut self, collections: u32, now: Duration) {
        if collections > self.collections {
            self.collections = collections;
            self.last = now;
        }
    }

    /// Takes note of a collection between calls.
    pub fn collected(&mut self, began: Duration, ended: Duration) {
        self.collections = self.collections.saturating_add(1);
        self.last = ended;
        self.cost = ended.saturating_sub(began);
    }

    /// How many there were since the fork.
    pub fn collections(&self) -> u32 {
        self.collections
    }

    /// Whether it is time for one.
    pub fn is_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) >= self.cost * self.period
    }
}

/// CPU time of this process so far.
pub fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Part of the time that goes into collections of 2 ms between calls of 3 ms.
    fn share(workers: u32) -> f64 {
        let mut pace = Pace::begin(Duration::ZERO, workers);
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        while now < 10_000 * MS {
            now += 3 * MS;
            if pace.is_due(now) {
                pace.collected(now, now + 2 * MS);
                spent += 2 * MS;
                now += 2 * MS;
            }
        }
        spent.as_secs_f64() / now.as_secs_f64()
    }

    #[test]
    fn collections_take_a_small_part_of_the_time() {
        for (workers, least, most) in [(1, 0.025, 0.031), (2, 0.035, 0.041), (4, 0.066, 0.077), (8, 0.12, 0.143)] {
            let share = share(workers);
            assert!((least..most).contains(&share), "{share} with {workers} workers");
        }
        assert_eq!(share(8).to_bits(), share(1000).to_bits());
        assert_eq!(share(0).to_bits(), share(1).to_bits());
    }

    #[test]
    fn a_collection_within_a_call_puts_off_the_next() {
        let mut pace = Pace::begin(Duration::ZERO, 4);
        pace.observe(1, 20 * MS);
        assert!(!pace.is_due(30 * MS), "room was made 10 ms ago");
        assert!(pace.is_due(45 * MS));
        pace.observe(1, 45 * MS);
        assert!(pace.is_due(45 * MS), "nothing happened since");
        pace.collected(45 * MS, 46 * MS);
        assert_eq!(pace.collections(), 2);
        pace.observe(2, 80 * MS);
        assert!(pace.is_due(80 * MS), "its own collection was counted twice");
    }

    #[test]
    fn time_is_that_of_the_processor() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}
