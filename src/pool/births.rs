//! How soon workers are forked again that die before anything was asked of them:
//! at once as long as it may be chance, then at growing pauses. Else a process
//! that can't live would be forked without end, as fast as the machine can. What
//! dies in a call is no such case; its request is to blame.

use std::time::{Duration, Instant};

/// Age of a worker that did not die of its birth.
pub(super) const INFANCY: Duration = Duration::from_secs(1);

/// First and longest pause; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Time without such a death after which the next one is the first again.
const QUIET: Duration = Duration::from_secs(120);

/// Counts such deaths in a row.
#[derive(Debug)]
pub(super) struct Births {
    /// Deaths that may be chance.
    free: u32,
    deaths: u32,
    last: Option<Instant>,
    held_until: Option<Instant>,
}

impl Births {
    /// For a pool of that many workers, all of which may be killed at once.
    pub(super) fn new(workers: usize) -> Self {
        let free = u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(3);
        Self { free, deaths: 0, last: None, held_until: None }
    }

    /// A worker died, before it was of any use or later. Tells whether that is when
    /// forking begins to pause.
    pub(super) fn died(&mut self, unused: bool, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > QUIET) || !unused {
            (self.deaths, self.held_until) = (0, None);
        }
        if !unused {
            return false;
        }
        self.deaths = self.deaths.saturating_add(1);
        self.last = Some(now);
        let Some(excess) = self.deaths.checked_sub(self.free).filter(|excess| *excess > 0) else { return false };
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(excess - 1)).min(LONGEST_PAUSE);
        self.held_until = Some(now + pause);
        excess == 1
    }

    /// How long no worker is to be forked; zero when one may be.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_at_birth_are_free_at_first_and_then_paused_for() {
        let mut births = Births::new(2);
        let mut now = Instant::now();
        for _ in 0..7 {
            assert!(!births.died(true, now));
            assert_eq!(births.pause(now), Duration::ZERO);
        }
        assert!(births.died(true, now), "the one that is told of");
        let mut pauses = vec![births.pause(now)];
        for _ in 0..20 {
            now += births.pause(now);
            assert_eq!(births.pause(now), Duration::ZERO, "it was waited for");
            assert!(!births.died(true, now));
            pauses.push(births.pause(now));
        }
        assert_eq!(pauses[..3], [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]);
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn another_death_or_a_quiet_time_ends_the_row() {
        let now = Instant::now();
        let paused = || {
            let mut births = Births::new(1);
            for _ in 0..6 {
                births.died(true, now);
            }
            assert_eq!(births.pause(now), FIRST_PAUSE);
            births
        };
        let mut births = paused();
        births.died(false, now);
        assert_eq!(births.pause(now), Duration::ZERO);
        let mut births = paused();
        births.died(true, now + QUIET);
        assert!(births.pause(now + QUIET) > Duration::ZERO);
        let later = now + QUIET * 2 + Duration::from_secs(1);
        births.died(true, later);
        assert_eq!(births.pause(later), Duration::ZERO);
    }
}
