//! How long a request that comes now has to wait for its batch. What is measured is
//! how often batches leave the queue while something waits; what is counted is the
//! batches that leave before its own. A batch that is not full takes what comes, so
//! requests that wait for the same batch cost each other nothing, and are not
//! refused for each other.

use std::time::{Duration, Instant};

use super::cost::CostModel;

/// Weight that a measurement keeps when another one comes.
const FORGETTING: f64 = 0.95;

/// What is expected of the batches to come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Batches {
    /// Most rows of one; nothing when requests are not joined.
    pub max_rows: Option<usize>,
    /// What they cost.
    pub cost: CostModel,
}

/// What waits already when a request comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Requests.
    pub entries: usize,
    /// Their rows.
    pub rows: usize,
}

/// The pace at which a queue is emptied.
#[derive(Debug, Default)]
pub struct Drain {
    /// Batches that left, their rows, and the time between them: sums in which older
    /// ones count for less.
    batches: f64,
    rows: f64,
    seconds: f64,
    /// Since when something waits and no batch has left.
    since: Option<Instant>,
}

impl Drain {
    /// Something waits.
    pub fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// A batch of what waited left. The pauses of an idle queue don't count.
    pub fn left(&mut self, rows: usize, now: Instant) {
        let Some(since) = self.since.replace(now) else { return };
        for sum in [&mut self.batches, &mut self.rows, &mut self.seconds] {
            *sum *= FORGETTING;
        }
        self.batches += 1.0;
        self.rows += rows as f64;
        self.seconds += now.saturating_duration_since(since).as_secs_f64();
    }

    /// Nothing waits any more.
    pub fn rests(&mut self) {
        self.since = None;
    }

    /// How long the batches before that of a request are expected to take that comes
    /// now; zero before anything was measured. The rest of the calls that run is not
    /// in it, unless it is overdue.
    pub fn wait(&self, ahead: Ahead, next: &Batches, now: Instant) -> Duration {
        if self.batches == 0.0 {
            return Duration::ZERO;
        }
        let (interval, rows) = (self.seconds / self.batches, self.rows / self.batches);
        let (calls, rows_before) = match next.max_rows {
            None => (ahead.entries as f64, ahead.rows as f64),
            Some(max_rows) => {
                let full = rows.max(max_rows as f64);
                let calls = (ahead.rows as f64 / full).floor();
                (calls, calls * full)
            }
        };
        // Larger batches take longer than those that were measured.
        let work =
            |calls: f64, rows: f64| next.cost.line().map_or(0.0, |(fixed, per_row)| fixed * calls + per_row * rows);
        let measured = work(1.0, rows);
        let times = if measured > 0.0 { work(calls, rows_before) / measured } else { calls };
        let silent = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)).as_secs_f64();
        let wait = times * interval + (silent - interval).max(0.0);
        Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A queue out of which a batch of so many rows went every 100 ms, the last one now.
    fn measured(rows: usize) -> (Drain, Instant) {
        let (mut drain, mut now) = (Drain::default(), Instant::now());
        drain.waits(now);
        for _ in 0..50 {
            now += 100 * MS;
            drain.left(rows, now);
        }
        (drain, now)
    }

    /// 2 ms a call and 1 ms a row.
    fn dear() -> CostModel {
        let mut cost = CostModel::default();
        cost.observe(1, 3 * MS);
        cost.observe(11, 13 * MS);
        cost
    }

    fn about(wait: Duration, expected: Duration) -> bool {
        wait.abs_diff(expected) < MS
    }

    fn ahead(entries: usize, rows: usize) -> Ahead {
        Ahead { entries, rows }
    }

    #[test]
    fn requests_that_are_not_joined_leave_one_by_one() {
        let (drain, now) = measured(1);
        let next = Batches::default();
        for entries in [0u32, 1, 7] {
            assert!(about(drain.wait(ahead(entries as usize, entries as usize), &next, now), entries * 100 * MS));
        }
        let next = Batches { cost: dear(), ..next };
        assert!(about(drain.wait(ahead(1, 28), &next, now), 1000 * MS), "30 ms instead of 3 ms a call");
    }

    #[test]
    fn who_is_in_the_next_batch_waits_for_none() {
        let (drain, now) = measured(2);
        let next = Batches { max_rows: Some(64), ..Batches::default() };
        assert_eq!(drain.wait(ahead(63, 63), &next, now), Duration::ZERO, "though batches had 2 rows so far");
        assert!(about(drain.wait(ahead(64, 64), &next, now), 100 * MS));
        assert!(about(drain.wait(ahead(130, 130), &next, now), 200 * MS));
        let next = Batches { cost: dear(), ..next };
        assert!(about(drain.wait(ahead(64, 64), &next, now), 1650 * MS), "66 ms instead of 4 ms a call");
    }

    #[test]
    fn what_is_overdue_is_waited_for() {
        let (drain, now) = measured(1);
        let wait = |later| drain.wait(ahead(1, 1), &Batches::default(), now + later);
        assert!(about(wait(90 * MS), 100 * MS), "the usual rest of a call");
        assert!(about(wait(5000 * MS), 5000 * MS));
    }

    #[test]
    fn pauses_are_not_measured() {
        let (mut drain, now) = measured(1);
        drain.rests();
        let later = now + 3_600_000 * MS;
        drain.waits(later);
        drain.waits(later + 50 * MS);
        drain.left(1, later + 100 * MS);
        assert!(about(drain.wait(ahead(1, 1), &Batches::default(), later + 100 * MS), 100 * MS));
    }

    #[test]
    fn before_anything_was_measured_no_wait_is_expected() {
        let mut drain = Drain::default();
        let now = Instant::now();
        drain.waits(now);
        assert_eq!(drain.wait(ahead(1000, 1000), &Batches::default(), now + 5000 * MS), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn more_that_waits_is_never_less_wait(
            left in prop::collection::vec((1usize..2000, 0u64..5000), 0..50), max_rows in prop::option::of(1usize..2000),
            entries in 0usize..5000, rows in 0usize..100_000, more in (0usize..100, 0usize..1000), later in 0u64..10_000,
        ) {
            let (mut drain, mut now) = (Drain::default(), Instant::now());
            drain.waits(now);
            for (rows, milliseconds) in left {
                now += Duration::from_millis(milliseconds);
                drain.left(rows, now);
            }
            let next = Batches { max_rows, cost: dear() };
            let now = now + Duration::from_millis(later);
            let less = drain.wait(ahead(entries, rows), &next, now);
            prop_assert!(drain.wait(ahead(entries + more.0, rows + more.1), &next, now) >= less);
        }
    }
}
