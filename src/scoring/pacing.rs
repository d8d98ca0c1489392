//! Whether the next batch begins beside those that run, or lets more requests
//! come together first, as a pure function. Most of what a call costs does not
//! depend on its rows. Where a core is idle that part is free; where all are
//! busy, two small calls take from each other, and from the front end, the time
//! that one larger call would save.

use std::time::Duration;

use super::cost::CostModel;

/// A call that costs so many times one row's is mostly paid for by its rows:
/// beginning it now wastes little.
const MOSTLY_ROWS: f64 = 2.0;

/// What waits is held back for so many times what a call is expected to take, at
/// most. It usually begins far earlier, when a batch that runs has ended; where
/// calls vary, a bound of one call would let half of them begin too early.
const LONGEST_HOLD: u32 = 2;

/// What the moment looks like to one model version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Rows that wait.
    pub queued_rows: usize,
    /// Batches of this version that are being scored.
    pub running_batches: usize,
    /// Rows in them.
    pub running_rows: usize,
    /// Whether a core is left for the front end when one more call begins.
    pub core_to_spare: bool,
    /// How long what waits has been held back already.
    pub held: Duration,
    /// Time until the earliest deadline of those who wait.
    pub time_left: Duration,
}

/// When the next batch may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As soon as there is a worker.
    Now,
    /// When so many rows wait, when a batch that runs has ended, or when this much
    /// time has passed, whatever comes first.
    Later {
        /// Rows that are worth a call of their own.
        rows: usize,
        /// Rest of the time for which anything is held back.
        within: Duration,
    },
}

/// Decides. An idle version never waits, nor does one on a machine with idle cores.
/// Otherwise a batch begins beside others when it is as large as those that run are
/// on average, or so large that its rows are what it costs; and nobody is held back
/// for longer than two calls take.
pub fn start(moment: &Moment, cost: &CostModel, max_rows: usize) -> Start {
    if moment.running_batches == 0 || moment.core_to_spare {
        return Start::Now;
    }
    let average = moment.running_rows.div_ceil(moment.running_batches);
    let worth_a_call = average.min(cost.rows_within_factor(MOSTLY_ROWS)).min(max_rows);
    let one_call = cost.expected(average);
    let within = (one_call * LONGEST_HOLD).saturating_sub(moment.held);
    let pressed = moment.time_left < one_call + within;
    if moment.queued_rows >= worth_a_call || within.is_zero() || pressed {
        return Start::Now;
    }
    Start::Later { rows: worth_a_call, within }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2 ms a call and 10 us a row.
    fn cost() -> CostModel {
        let mut cost = CostModel::default();
        cost.observe(1, Duration::from_micros(2010));
        cost.observe(101, Duration::from_micros(3010));
        cost
    }

    const BUSY: Moment = Moment {
        queued_rows: 3,
        running_batches: 1,
        running_rows: 16,
        core_to_spare: false,
        held: Duration::ZERO,
        time_left: Duration::from_secs(30),
    };

    fn begins(moment: Moment) -> bool {
        start(&moment, &cost(), 1024) == Start::Now
    }

    #[test]
    fn little_waits_for_more_beside_a_large_batch() {
        let Start::Later { rows, within } = start(&BUSY, &cost(), 1024) else { panic!("it began") };
        assert_eq!(rows, 16);
        assert!((4300..=4400).contains(&within.as_micros()), "two calls of 16 rows: {within:?}");
        assert!(begins(Moment { queued_rows: 16, ..BUSY }));
        assert!(begins(Moment { running_batches: 8, queued_rows: 2, ..BUSY }), "16 rows in 8 batches are 2 a batch");
    }

    #[test]
    fn rows_that_cost_by_themselves_do_not_wait() {
        let mut dear = CostModel::default();
        dear.observe(1, Duration::from_millis(2));
        dear.observe(11, Duration::from_millis(12));
        assert_eq!(start(&BUSY, &dear, 1024), Start::Now, "1 ms a call and 1 ms a row: 3 rows are worth it");
    }

    #[test]
    fn a_close_deadline_is_not_held_back() {
        assert!(begins(Moment { time_left: Duration::from_millis(6), ..BUSY }));
        assert!(!begins(Moment { time_left: Duration::from_millis(7), ..BUSY }));
    }

    prop_compose! {
        fn any_moment()(
            queued_rows in 0usize..5000, running_batches in 0usize..64, per_batch in 1usize..2000,
            core_to_spare: bool, held in 0u64..20_000, left in 0u64..100_000,
        ) -> Moment {
            Moment {
                queued_rows, running_batches, running_rows: running_batches * per_batch, core_to_spare,
                held: Duration::from_micros(held), time_left: Duration::from_micros(left),
            }
        }
    }

    proptest! {
        #[test]
        fn an_idle_version_and_an_idle_core_never_wait(moment in any_moment()) {
            let sooner = Moment { running_batches: 0, running_rows: 0, ..moment };
            prop_assert!(begins(sooner));
            let sooner = Moment { core_to_spare: true, ..moment };
            prop_assert!(begins(sooner));
        }

        #[test]
        fn nobody_is_held_back_longer_than_two_calls(moment in any_moment()) {
            let one_call = cost().expected(moment.running_rows.div_ceil(moment.running_batches.max(1)));
            if let Start::Later { within, .. } = start(&moment, &cost(), 1024) {
                prop_assert!(moment.held + within <= one_call * LONGEST_HOLD);
                let sooner = Moment { held: moment.held + within, ..moment };
            prop_assert!(begins(sooner));
            }
        }

        #[test]
        fn what_is_waited_for_is_enough(moment in any_moment()) {
            if let Start::Later { rows, .. } = start(&moment, &cost(), 1024) {
                prop_assert!(moment.queued_rows < rows && rows <= 1024);
                let sooner = Moment { queued_rows: rows, ..moment };
            prop_assert!(begins(sooner));
            }
        }

        #[test]
        fn more_rows_never_wait_where_fewer_begin(moment in any_moment(), more in 0usize..5000) {
            if begins(moment) {
                let sooner = Moment { queued_rows: moment.queued_rows + more, ..moment };
            prop_assert!(begins(sooner));
            }
        }

        #[test]
        fn before_anything_was_learned_nothing_waits(moment in any_moment()) {
            prop_assume!(moment.queued_rows > 0);
            prop_assert_eq!(start(&moment, &CostModel::default(), 1024), Start::Now);
        }
    }
}
