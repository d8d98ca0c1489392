//! Getting a zygote ready to be forked: the model's rows are scored here once, so
//! that R compiles `predict()` and loads what it loads lazily before the fork and
//! all workers share it, and then garbage is collected, so that few shared
//! pages are written to afterwards.
//!
//! A model that does more than compute when it scores (starts threads, opens a
//! file or a connection) would hand the same one to all workers; such a zygote
//! is not fit to be forked.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use super::engine::Engine;
use super::fork::settled_thread_count;
use super::protocol::WarmedUp;
use crate::frame::schema::Inputs;

/// No further call is begun after this time; the first one does most of the good.
const BUDGET: Duration = Duration::from_secs(5);

/// Longest list of what a warm-up left behind.
const MAX_LISTED: usize = 5;

/// Scores the rows so often, then collects garbage.
///
/// # Errors
/// The process can't read its own entry in `/proc`.
pub fn run(engine: &mut dyn Engine, calls: u32, inputs: &Inputs<RecordBatch>) -> io::Result<WarmedUp> {
    let before = Footprint::take()?;
    let mut report = WarmedUp::default();
    let started = Instant::now();
    for _ in 0..calls {
        let outcome = engine.score(inputs);
        report.warnings = outcome.warnings;
        if let Err(condition) = outcome.result {
            if outcome.retire {
                report.unfit = Some(format!("R ran out of stack or memory: {}", condition.message));
            }
            report.failure = Some(condition);
            break;
        }
        if started.elapsed() > BUDGET {
            break;
        }
    }
    engine.collect();
    if report.unfit.is_none() {
        report.unfit = Footprint::take()?.more_than(&before);
    }
    Ok(report)
}

/// What forked processes can't share.
struct Footprint {
    threads: usize,
    /// Number and target of each open file descriptor.
    descriptors: BTreeSet<(String, String)>,
}

impl Footprint {
    fn take() -> io::Result<Self> {
        let mut descriptors = BTreeSet::new();
        for entry in std::fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            // The one that lists the others is in the list, and closed afterwards.
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            if !target.starts_with("/proc/") {
                descriptors.insert((entry.file_name().to_string_lossy().into_owned(), target));
            }
        }
        Ok(Self { threads: settled_thread_count()?, descriptors })
    }

    fn more_than(&self, before: &Self) -> Option<String> {
        if self.threads > before.threads {
            return Some(format!("{} threads were started", self.threads - before.threads));
        }
        let opened: Vec<&str> =
            self.descriptors.difference(&before.descriptors).map(|(_, target)| target.as_str()).collect();
        match opened.len() {
            0 => None,
            count => {
                Some(format!("{count} files or sockets stay open: {}", opened[..count.min(MAX_LISTED)].join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn footprint(threads: usize, descriptors: &[(&str, &str)]) -> Footprint {
        let descriptors =
            descriptors.iter().map(|(number, target)| ((*number).to_owned(), (*target).to_owned())).collect();
        Footprint { threads, descriptors }
    }

    #[test]
    fn threads_and_descriptors_that_stay_are_named() {
        let before = footprint(1, &[("0", "/dev/null"), ("3", "socket:[1]")]);
        assert_eq!(footprint(1, &[("0", "/dev/null"), ("3", "socket:[1]")]).more_than(&before), None);
        assert_eq!(footprint(1, &[("0", "/dev/null")]).more_than(&before), None, "less is no harm");
        let threads = footprint(3, &[("0", "/dev/null")]).more_than(&before).unwrap();
        assert!(threads.contains("2 threads"), "{threads}");
        let reopened = footprint(1, &[("0", "/dev/null"), ("3", "/tmp/cache.sqlite")]).more_than(&before).unwrap();
        assert!(reopened.contains("1 files or sockets stay open: /tmp/cache.sqlite"), "{reopened}");
    }

    #[test]
    fn an_open_file_shows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_string_lossy().into_owned();
        let footprint = Footprint::take().unwrap();
        assert!(footprint.threads > 0);
        assert!(footprint.descriptors.iter().any(|(_, target)| *target == path), "{:?}", footprint.descriptors);
    }
}
