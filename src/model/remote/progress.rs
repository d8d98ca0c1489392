//! How far fetching is, for progress bars and log lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::metrics;

/// Counts of the versions that are being fetched. Shared by who fetches and who
/// shows.
#[derive(Debug, Default)]
pub struct Progress {
    expected: AtomicU64,
    received: AtomicU64,
}

impl Progress {
    /// Bytes of all versions that were begun, and how many of them came.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed))
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        metrics::model_fetch_bytes(bytes as u64);
    }
}

/// A size for people, such as `12.3 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A size and how fast it came, such as `12.3 MB in 0.5 s, 24.6 MB/s`.
pub fn rate(bytes: u64, duration: Duration) -> String {
    let seconds = duration.as_secs_f64().max(0.001);
    format!("{} in {seconds:.1} s, {}/s", size(bytes), size((bytes as f64 / seconds) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 kB");
        assert_eq!(size(12_345_678), "12.3 MB");
        assert_eq!(rate(10_000_000, Duration::from_millis(500)), "10.0 MB in 0.5 s, 20.0 MB/s");
    }
}
