//! How workers are kept fit, and for how long: the term of a worker as a pure
//! function of what it has done.

use std::fmt;
use std::time::Duration;

use super::sizing::Sizing;
use crate::config::settings::WorkerSettings;

/// The bounds that a pool keeps its workers in.
#[derive(Debug, Clone, PartialEq)]
pub struct Upkeep {
    /// Calls after which a worker is replaced; 0 for no bound.
    pub max_calls: u64,
    /// Resident memory in bytes above which it is replaced; 0 for no bound.
    pub max_rss_bytes: u64,
    /// Bytes by which it may grow after it was forked; 0 for no bound.
    pub max_growth_bytes: u64,
    /// Age after which it is replaced; zero for no bound.
    pub max_age: Duration,
    /// How long a worker must have been idle before it collects garbage; zero for
    /// never.
    pub idle_collect: Duration,
    /// How long R has to stop after it was interrupted at a deadline.
    pub interrupt_grace: Duration,
    /// How long a zygote may take to fork a worker or to answer a ping.
    pub zygote_timeout: Duration,
    /// Lines of their output that are logged in a second, of each stream.
    pub output_lines_per_second: usize,
    /// What the number of workers and their memory follow.
    pub sizing: Sizing,
}

/// Why a worker's term is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndOfTerm {
    Calls(u64),
    Memory(u64),
    Age(Duration),
}

impl Upkeep {
    /// Whether a worker that did and holds so much has served its term.
    pub(super) fn end_of_term(&self, calls: u64, resident_bytes: u64, age: Duration) -> Option<EndOfTerm> {
        if self.max_calls > 0 && calls >= self.max_calls {
            return Some(EndOfTerm::Calls(calls));
        }
        if self.max_rss_bytes > 0 && resident_bytes > self.max_rss_bytes {
            return Some(EndOfTerm::Memory(resident_bytes));
        }
        if !self.max_age.is_zero() && age >= self.max_age {
            return Some(EndOfTerm::Age(age));
        }
        None
    }
}

impl From<&WorkerSettings> for Upkeep {
    fn from(settings: &WorkerSettings) -> Self {
        Self {
            max_calls: settings.max_calls as u64,
            max_rss_bytes: settings.max_rss_bytes as u64,
            max_growth_bytes: settings.max_growth_bytes as u64,
            max_age: settings.max_age,
            idle_collect: settings.idle_collect,
            interrupt_grace: settings.interrupt_grace,
            zygote_timeout: settings.zygote_timeout,
            output_lines_per_second: settings.output_lines_per_second,
            sizing: Sizing::default(),
        }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self::from(&WorkerSettings::default())
    }
}

impl fmt::Display for EndOfTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls(calls) => write!(f, "{calls} calls"),
            Self::Memory(bytes) => write!(f, "{bytes} bytes of resident memory"),
            Self::Age(age) => write!(f, "an age of {} s", age.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Upkeep = Upkeep {
        max_calls: 0,
        max_rss_bytes: 0,
        max_growth_bytes: 0,
        max_age: Duration::ZERO,
        idle_collect: Duration::ZERO,
        interrupt_grace: Duration::ZERO,
        zygote_timeout: Duration::ZERO,
        output_lines_per_second: 0,
        sizing: Sizing { workers: 1, reason: String::new(), follows_memory: false, memory: None },
    };

    #[test]
    fn nothing_ends_a_term_without_bounds() {
        assert_eq!(OFF.end_of_term(u64::MAX, u64::MAX, Duration::MAX), None);
    }

    #[test]
    fn each_bound_ends_it_when_it_is_reached() {
        let second = Duration::from_secs(1);
        let calls = Upkeep { max_calls: 10, ..OFF };
        assert_eq!(calls.end_of_term(9, u64::MAX, Duration::MAX), None);
        assert_eq!(calls.end_of_term(10, 0, Duration::ZERO), Some(EndOfTerm::Calls(10)));
        let memory = Upkeep { max_rss_bytes: 10, ..OFF };
        assert_eq!(memory.end_of_term(u64::MAX, 10, Duration::MAX), None);
        assert_eq!(memory.end_of_term(0, 11, Duration::ZERO), Some(EndOfTerm::Memory(11)));
        let age = Upkeep { max_age: second, ..OFF };
        assert_eq!(age.end_of_term(u64::MAX, u64::MAX, second / 2), None);
        assert_eq!(age.end_of_term(0, 0, second), Some(EndOfTerm::Age(second)));
    }
}
