//! How soon another zygote is tried after one failed, as a state machine without
//! a clock: pauses grow and are spread, and after several failures in a row the
//! breaker is open, which says that the model can't be started at present. Each
//! further try is the half-open one that may close it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pause after the first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Failures in a row that open the breaker.
const FAILURES_TO_OPEN: u32 = 5;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
}

impl Breaker {
    /// A zygote could not be started, or ended before it was of any use. Gives the
    /// pause before the next try.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        spread(pause(self.failures), RandomState::new().hash_one(0))
    }

    /// A zygote proved to work.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn is_open(&self) -> bool {
        self.failures >= FAILURES_TO_OPEN
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 2u32.saturating_pow(failures.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Between half of the pause and all of it, so that the zygotes of many models, or
/// of many servers, that failed at once are not tried at once again.
fn spread(pause: Duration, random: u64) -> Duration {
    let share = random as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 2);
        assert_eq!(pause(5), FIRST_PAUSE * 16);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn pauses_are_spread() {
        let pause = Duration::from_secs(2);
        assert_eq!(spread(pause, 0), pause / 2);
        assert_eq!(spread(pause, u64::MAX), pause);
        let mut breaker = Breaker::default();
        let first = breaker.failed();
        assert!((FIRST_PAUSE / 2..=FIRST_PAUSE).contains(&first), "{first:?}");
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed();
            assert!(!breaker.is_open());
        }
        breaker.failed();
        assert!(breaker.is_open());
        breaker.succeeded();
        assert!(!breaker.is_open());
        breaker.failed();
        assert!(!breaker.is_open(), "the count began anew");
    }
}
