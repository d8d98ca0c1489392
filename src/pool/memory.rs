//! Memory of worker processes, as the kernel counts it: R's own figures leave
//! out what packages allocate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two readings of proportional sizes.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

/// A reading is followed by a pause of so many times the time that it took.
const PAUSE_FACTOR: u32 = 200;

/// Resident bytes of a process (proc(5), `statm`, second field); 0 when it is gone.
pub fn resident_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Proportional set size of a process in bytes: pages that it shares count for
/// their share (proc(5), `smaps_rollup`); 0 when it is gone or belongs to another
/// user.
///
/// The kernel walks all page tables for this, which takes milliseconds for a
/// process of a gigabyte; see [`ProportionalSize`].
pub fn proportional_bytes(process: u32) -> u64 {
    parse_proportional(&std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default())
}

fn parse_proportional(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The proportional size of a group of processes, read now and then: at most
/// one two-hundredth of the time is spent on it, however large they are and
/// however often it is asked for.
#[derive(Debug, Default)]
pub struct ProportionalSize {
    last: Mutex<Option<Reading>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    bytes: u64,
    /// Until when it is good.
    until: Instant,
}

impl ProportionalSize {
    /// Bytes of all processes together.
    pub fn bytes(&self, processes: impl IntoIterator<Item = u32>) -> u64 {
        self.read(|| processes.into_iter().map(proportional_bytes).sum())
    }

    fn read(&self, measure: impl FnOnce() -> u64) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        match *last {
            Some(reading) if started < reading.until => reading.bytes,
            _ => {
                let bytes = measure();
                let pause = (started.elapsed() * PAUSE_FACTOR).max(SHORTEST_PAUSE);
                *last = Some(Reading { bytes, until: Instant::now() + pause });
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_none_has_not() {
        let own = std::process::id();
        assert!(resident_bytes(own) > 1024 * 1024);
        assert_eq!(resident_bytes(0), 0);
        assert_eq!(proportional_bytes(0), 0);
        // Shared libraries count for less than all of their pages.
        assert!(proportional_bytes(own) > 256 * 1024);
    }

    #[test]
    fn the_kernels_text_is_read() {
        let text = "55d0c0a00000-7ffd9d5f6000 ---p 00000000 00:00 0    [rollup]\nRss:  8 kB\nPss:      1234 kB\nPss_Anon: 9 kB\n";
        assert_eq!(parse_proportional(text), 1234 * 1024);
        assert_eq!(parse_proportional(""), 0);
    }

    #[test]
    fn a_reading_is_kept_for_a_while() {
        let size = ProportionalSize::default();
        assert_eq!(size.read(|| 7), 7);
        assert_eq!(size.read(|| panic!("it was read a moment ago")), 7);
    }
}
