//! When a worker collects garbage between two calls. R collects when its room is
//! used up, in the middle of a call, and until then a worker writes to ever more
//! pages that it shared with its siblings before. Between calls nearly everything
//! young is garbage, so that a collection there costs little and keeps the worker
//! small; how often is a matter of what it costs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A collection is due when the worker has computed for so many times what the last
/// one took: at most one part in 17 of its time goes into them.
const PERIOD: u32 = 16;

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
}

impl Default for Pace {
    fn default() -> Self {
        Self::begin(Duration::ZERO)
    }
}

impl Pace {
    /// That of a worker which was forked just now.
    pub fn begin(now: Duration) -> Self {
        Self { collections: 0, last: now, cost: EXPECTED }
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
        now.saturating_sub(self.last) >= self.cost * PERIOD
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

    #[test]
    fn collections_take_a_small_part_of_the_time() {
        let mut pace = Pace::begin(Duration::ZERO);
        let mut spent = Duration::ZERO;
        let mut now = Duration::ZERO;
        while now < 10_000 * MS {
            now += 3 * MS;
            if pace.is_due(now) {
                pace.collected(now, now + 2 * MS);
                spent += 2 * MS;
                now += 2 * MS;
            }
        }
        assert!(spent > now / 40, "they are not put off for ever: {spent:?}");
        assert!(spent < now / 20, "{spent:?} of {now:?}");
    }

    #[test]
    fn a_collection_within_a_call_puts_off_the_next() {
        let mut pace = Pace::begin(Duration::ZERO);
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
