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
    /// Garbage collections after which it is replaced; 0 for no bound.
    pub max_collections: u64,
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
    Collections(u64),
    Memory(u64),
    Age(Duration),
}

/// What a worker has done and holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Life {
    pub calls: u64,
    /// How often R has collected garbage.
    pub collections: u64,
    pub resident_bytes: u64,
    pub age: Duration,
    /// What its first call took: what a script does only once in each worker is in it.
    pub first_call: Duration,
}

/// A worker is not replaced for its collections before it is so many times as old as
/// its first call was long: its beginning is at most 2 % of its life.
const BEGINNINGS: u32 = 50;

impl Upkeep {
    /// Whether a worker has served its term.
    pub(super) fn end_of_term(&self, life: Life) -> Option<EndOfTerm> {
        if self.max_calls > 0 && life.calls >= self.max_calls {
            return Some(EndOfTerm::Calls(life.calls));
        }
        if self.max_rss_bytes > 0 && life.resident_bytes > self.max_rss_bytes {
            return Some(EndOfTerm::Memory(life.resident_bytes));
        }
        if !self.max_age.is_zero() && life.age >= self.max_age {
            return Some(EndOfTerm::Age(life.age));
        }
        let has_begun = life.age >= life.first_call.saturating_mul(BEGINNINGS);
        if self.max_collections > 0 && life.collections >= self.max_collections && has_begun {
            return Some(EndOfTerm::Collections(life.collections));
        }
        None
    }
}

impl From<&WorkerSettings> for Upkeep {
    fn from(settings: &WorkerSettings) -> Self {
        Self {
            max_calls: settings.max_calls as u64,
            max_collections: settings.max_collections as u64,
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
            Self::Collections(collections) => write!(f, "{collections} garbage collections"),
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
        max_collections: 0,
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
        let life = Life {
            calls: u64::MAX,
            collections: u64::MAX,
            resident_bytes: u64::MAX,
            age: Duration::MAX,
            first_call: Duration::ZERO,
        };
        assert_eq!(OFF.end_of_term(life), None);
    }

    #[test]
    fn each_bound_ends_it_when_it_is_reached() {
        let second = Duration::from_secs(1);
        let calls = Upkeep { max_calls: 10, ..OFF };
        let life = Life { resident_bytes: u64::MAX, age: Duration::MAX, ..Life::default() };
        assert_eq!(calls.end_of_term(Life { calls: 9, ..life }), None);
        assert_eq!(calls.end_of_term(Life { calls: 10, ..Life::default() }), Some(EndOfTerm::Calls(10)));
        let memory = Upkeep { max_rss_bytes: 10, ..OFF };
        let life = Life { calls: u64::MAX, age: Duration::MAX, ..Life::default() };
        assert_eq!(memory.end_of_term(Life { resident_bytes: 10, ..life }), None);
        assert_eq!(memory.end_of_term(Life { resident_bytes: 11, ..Life::default() }), Some(EndOfTerm::Memory(11)));
        let age = Upkeep { max_age: second, ..OFF };
        let life = Life { calls: u64::MAX, resident_bytes: u64::MAX, ..Life::default() };
        assert_eq!(age.end_of_term(Life { age: second / 2, ..life }), None);
        assert_eq!(age.end_of_term(Life { age: second, ..Life::default() }), Some(EndOfTerm::Age(second)));
    }

    #[test]
    fn collections_end_it_once_its_beginning_has_paid() {
        let second = Duration::from_secs(1);
        let upkeep = Upkeep { max_collections: 80, ..OFF };
        let quick = Life { collections: 80, age: second, first_call: second / 100, ..Life::default() };
        assert_eq!(upkeep.end_of_term(quick), Some(EndOfTerm::Collections(80)));
        assert_eq!(upkeep.end_of_term(Life { collections: 79, ..quick }), None);
        let slow = Life { first_call: second / 10, ..quick };
        assert_eq!(upkeep.end_of_term(slow), None, "what it did once would be done every second");
        assert_eq!(upkeep.end_of_term(Life { age: 5 * second, ..slow }), Some(EndOfTerm::Collections(80)));
        assert_eq!(upkeep.end_of_term(Life { first_call: Duration::MAX, ..slow }), None);
    }
}
