//! The batch policy, as pure functions: how many rows a batch may have, and
//! which of those who wait are in it. It never waits by itself: whatever is
//! queued at the moment a worker is free is what there is to choose from.

use std::time::Duration;

use super::cost::CostModel;

/// A call may cost this much more than one row's before more rows count as
/// costing anything. Below it, a batch is not made smaller to feed idle workers.
const CHEAP: f64 = 1.25;

/// Bounds that the operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows of a batch.
    pub max_rows: usize,
    /// How long a call should take at most.
    pub target_latency: Duration,
}

/// What the moment looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Rows that wait.
    pub queued_rows: usize,
    /// Workers that could take a batch now, the reserved one included.
    pub free_workers: usize,
    /// Time until the earliest deadline of those who wait.
    pub time_left: Duration,
}

/// Most rows of the next batch: as many as are expected to be scored within the
/// target and the earliest deadline, but no more than this worker's share while
/// others are idle. Rows that cost next to nothing are left out for neither: where
/// one row alone takes longer than the target, small batches only lengthen the queue.
pub fn cap(limits: &BatchLimits, situation: &Situation, cost: &CostModel) -> usize {
    let in_time = cost.rows_within(limits.target_latency.min(situation.time_left));
    let share = situation.queued_rows.div_ceil(situation.free_workers.max(1));
    let cheap = cost.rows_within_factor(CHEAP);
    limits.max_rows.min(in_time.max(cheap)).min(share.max(cheap)).max(1)
}

/// How many of those who wait, in order, make up the next batch: as many as fit
/// under `cap`, and the first one however large it is.
pub fn take(cap: usize, rows_in_order: impl IntoIterator<Item = usize>) -> usize {
    let mut total = 0usize;
    let mut taken = 0;
    for rows in rows_in_order {
        total = total.saturating_add(rows);
        if taken > 0 && total > cap {
            break;
        }
        taken += 1;
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> BatchLimits {
        BatchLimits { max_rows: 1024, target_latency: Duration::from_millis(50) }
    }

    proptest! {
        /// Never over the cap, but for a single entry that is larger by itself.
        #[test]
        fn never_over_the_cap(cap in 1usize..2000, waiting in prop::collection::vec(1usize..500, 0..64)) {
            let taken = take(cap, waiting.iter().copied());
            let rows: usize = waiting[..taken].iter().sum();
            prop_assert!(rows <= cap || taken == 1);
        }

        /// What waits makes progress, however large the first entry is.
        #[test]
        fn always_progress(cap in 1usize..2000, waiting in prop::collection::vec(1usize..100_000, 1..64)) {
            prop_assert!(take(cap, waiting.iter().copied()) >= 1);
        }

        /// As many as fit: the next entry would go over.
        #[test]
        fn as_many_as_fit(cap in 1usize..2000, waiting in prop::collection::vec(1usize..500, 1..64)) {
            let taken = take(cap, waiting.iter().copied());
            if taken < waiting.len() {
                prop_assert!(waiting[..=taken].iter().sum::<usize>() > cap);
            }
        }

        /// Draining a queue batch by batch gives every entry once, in order.
        #[test]
        fn nothing_is_lost_doubled_or_reordered(cap in 1usize..300, waiting in prop::collection::vec(1usize..500, 0..64)) {
            let mut rest: Vec<(usize, usize)> = waiting.iter().copied().enumerate().collect();
            let mut order = Vec::new();
            while !rest.is_empty() {
                let taken = take(cap, rest.iter().map(|(_, rows)| *rows));
                order.extend(rest.drain(..taken).map(|(entry, _)| entry));
            }
            prop_assert_eq!(order, (0..waiting.len()).collect::<Vec<_>>());
        }

        #[test]
        fn the_cap_keeps_the_hard_limit(queued in 0usize..100_000, free in 0usize..64, left in 0u64..10_000, b in 0u64..10_000) {
            let mut cost = CostModel::default();
            cost.observe(1, Duration::from_micros(1000));
            cost.observe(100, Duration::from_micros(1000 + b * 100));
            let situation = Situation { queued_rows: queued, free_workers: free, time_left: Duration::from_millis(left) };
            let cap = cap(&limits(), &situation, &cost);
            prop_assert!((1..=1024).contains(&cap));
        }
    }

    #[test]
    fn idle_workers_share_what_is_dear() {
        // 1 ms a row: ten rows are worth two workers.
        let mut cost = CostModel::default();
        cost.observe(1, Duration::from_millis(1));
        cost.observe(10, Duration::from_millis(10));
        let situation = Situation { queued_rows: 10, free_workers: 2, time_left: Duration::from_secs(1) };
        assert_eq!(cap(&limits(), &situation, &cost), 5);
    }

    #[test]
    fn what_is_cheap_stays_together() {
        // 2 ms a call and 1 us a row: a batch of ten costs what one row costs.
        let mut cost = CostModel::default();
        cost.observe(1, Duration::from_micros(2001));
        cost.observe(101, Duration::from_micros(2101));
        let situation = Situation { queued_rows: 10, free_workers: 2, time_left: Duration::from_secs(1) };
        assert!(cap(&limits(), &situation, &cost) >= 10);
    }

    #[test]
    fn a_slow_call_is_not_made_slower_by_many() {
        // 200 ms a call, whatever its rows: four times the target.
        let mut cost = CostModel::default();
        cost.observe(1, Duration::from_millis(200));
        let situation = Situation { queued_rows: 100, free_workers: 1, time_left: Duration::from_secs(1) };
        assert!(cap(&limits(), &situation, &cost) >= 100, "one call takes 200 ms, a hundred take 20 s");
        cost.observe(101, Duration::from_millis(201));
        assert!(cap(&limits(), &situation, &cost) >= 100);
    }

    #[test]
    fn a_close_deadline_makes_batches_small() {
        let mut cost = CostModel::default();
        cost.observe(1, Duration::from_millis(1));
        cost.observe(10, Duration::from_millis(10));
        let mut situation = Situation { queued_rows: 1000, free_workers: 1, time_left: Duration::from_secs(1) };
        let relaxed = cap(&limits(), &situation, &cost);
        assert!((45..=50).contains(&relaxed), "50 ms at 1 ms a row: {relaxed}");
        situation.time_left = Duration::from_millis(8);
        let pressed = cap(&limits(), &situation, &cost);
        assert!((7..=8).contains(&pressed), "{pressed}");
    }
}
