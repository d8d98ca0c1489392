//! Requests that ended two workers, remembered for a while: the same rows are
//! refused at once, so that a caller who tries again and again costs the model
//! no worker each time. One quarantine per loaded version: a reload, which may
//! have mended the model, begins with an empty one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use crate::error::{Error, Kind, Result};
use crate::frame::digest::InputsDigest;
use crate::frame::schema::Inputs;

/// Bounds of a quarantine. Either one at zero switches it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineLimits {
    /// Most requests that are remembered; the oldest is forgotten first.
    pub max_entries: usize,
    /// How long each is remembered.
    pub time: Duration,
}

/// The requests of one model version that must not be scored now.
#[derive(Debug)]
pub struct Quarantine {
    limits: QuarantineLimits,
    /// In the order in which they end, since all last equally long.
    entries: Mutex<VecDeque<Entry>>,
    /// Length of `entries`, for the many requests that come while there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    digest: InputsDigest,
    /// Rows of each input: a request of other sizes need not be digested.
    rows: Vec<usize>,
    until: Instant,
}

impl Quarantine {
    /// An empty one.
    pub fn new(limits: QuarantineLimits) -> Self {
        Self { limits, entries: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// Refuses a request that is remembered.
    ///
    /// # Errors
    /// [`Kind::Quarantined`] with the time that is left.
    pub fn check(&self, inputs: &Inputs<RecordBatch>, now: Instant) -> Result<()> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let rows = rows_of(inputs);
        let is_likely = self.current(now).iter().any(|entry| entry.rows == rows);
        if !is_likely {
            return Ok(());
        }
        // Outside of the lock: other requests need not wait for a large one.
        let digest = InputsDigest::of(inputs).map_err(Error::internal)?;
        match self.current(now).iter().find(|entry| entry.digest == digest) {
            None => Ok(()),
            Some(entry) => {
                let retry_after = entry.until.saturating_duration_since(now);
                let seconds = retry_after.as_secs() + 1;
                Err(Error::new(
                    Kind::Quarantined { retry_after },
                    format!(
                        "the same request ended its worker process twice a short while ago and is not tried again for \
                         {seconds} s; the server's log has it under the digest {digest}"
                    ),
                ))
            }
        }
    }

    /// Remembers a request; gives its digest for the log.
    pub fn add(&self, inputs: &Inputs<RecordBatch>, now: Instant) -> Option<InputsDigest> {
        let digest = InputsDigest::of(inputs).ok()?;
        if self.limits.max_entries > 0 && !self.limits.time.is_zero() {
            let mut entries = self.current(now);
            entries.retain(|entry| entry.digest != digest);
            while entries.len() >= self.limits.max_entries {
                entries.pop_front();
            }
            entries.push_back(Entry { digest, rows: rows_of(inputs), until: now + self.limits.time });
            self.count.store(entries.len(), Ordering::Relaxed);
        }
        Some(digest)
    }

    /// Requests that are remembered now.
    pub fn len(&self, now: Instant) -> usize {
        self.current(now).len()
    }

    /// The entries without those whose time is over.
    fn current(&self, now: Instant) -> MutexGuard<'_, VecDeque<Entry>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.front().is_some_and(|entry| entry.until <= now) {
            entries.pop_front();
        }
        self.count.store(entries.len(), Ordering::Relaxed);
        entries
    }
}

fn rows_of(inputs: &Inputs<RecordBatch>) -> Vec<usize> {
    inputs.iter().map(|(_, batch)| batch.num_rows()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::Float64Array;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rows(values: &[f64]) -> Inputs<RecordBatch> {
        let column = Arc::new(Float64Array::from(values.to_vec()));
        Inputs::single(RecordBatch::try_from_iter([("x", column as _)]).unwrap())
    }

    fn quarantine(max_entries: usize, time: Duration) -> Quarantine {
        Quarantine::new(QuarantineLimits { max_entries, time })
    }

    #[test]
    fn the_same_rows_are_refused_and_others_are_not() {
        let now = Instant::now();
        let quarantine = quarantine(4, MINUTE);
        assert!(quarantine.check(&rows(&[1.0]), now).is_ok());
        let digest = quarantine.add(&rows(&[1.0]), now).unwrap();
        let error = quarantine.check(&rows(&[1.0]), now + MINUTE / 2).unwrap_err();
        assert_eq!(error.kind(), &Kind::Quarantined { retry_after: MINUTE / 2 });
        assert!(error.detail().contains(&digest.to_string()), "{error}");
        assert!(quarantine.check(&rows(&[2.0]), now).is_ok());
        assert!(quarantine.check(&rows(&[1.0, 1.0]), now).is_ok());
    }

    #[test]
    fn it_ends_by_itself() {
        let now = Instant::now();
        let quarantine = quarantine(4, MINUTE);
        quarantine.add(&rows(&[1.0]), now);
        assert_eq!(quarantine.len(now), 1);
        assert!(quarantine.check(&rows(&[1.0]), now + MINUTE).is_ok());
        assert_eq!(quarantine.len(now + MINUTE), 0);
    }

    #[test]
    fn it_is_bounded_and_the_oldest_goes_first() {
        let now = Instant::now();
        let quarantine = quarantine(2, MINUTE);
        for value in [1.0, 2.0, 1.0, 3.0] {
            quarantine.add(&rows(&[value]), now);
        }
        assert_eq!(quarantine.len(now), 2);
        assert!(quarantine.check(&rows(&[2.0]), now).is_ok(), "what was seen again is younger than this");
        assert!(quarantine.check(&rows(&[1.0]), now).is_err());
        assert!(quarantine.check(&rows(&[3.0]), now).is_err());
    }

    #[test]
    fn it_can_be_off() {
        let now = Instant::now();
        for quarantine in [quarantine(0, MINUTE), quarantine(4, Duration::ZERO)] {
            assert!(quarantine.add(&rows(&[1.0]), now).is_some(), "the log has the digest all the same");
            assert!(quarantine.check(&rows(&[1.0]), now).is_ok());
        }
    }
}
