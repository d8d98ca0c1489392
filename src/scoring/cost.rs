//! What a call costs, learned while serving: the time as a line over the number
//! of rows, `fixed + per_row * rows`, fitted by least squares in which older
//! calls count for less (recursive least squares with exponential forgetting;
//! Ljung, System Identification, section 11.2).

use std::time::Duration;

/// Weight that an observation keeps when another one comes.
const FORGETTING: f64 = 0.99;

/// Largest answer where nothing limits the rows.
const UNLIMITED: usize = usize::MAX;

/// The line, as weighted sums over the observations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CostModel {
    weight: f64,
    rows: f64,
    rows_squared: f64,
    seconds: f64,
    rows_seconds: f64,
}

impl CostModel {
    /// Learns that a call of `rows` rows took `time`.
    pub fn observe(&mut self, rows: usize, time: Duration) {
        let (rows, seconds) = (rows as f64, time.as_secs_f64());
        for sum in [&mut self.weight, &mut self.rows, &mut self.rows_squared, &mut self.seconds, &mut self.rows_seconds]
        {
            *sum *= FORGETTING;
        }
        self.weight += 1.0;
        self.rows += rows;
        self.rows_squared += rows * rows;
        self.seconds += seconds;
        self.rows_seconds += rows * seconds;
    }

    /// The fitted line in seconds, fixed part and part per row, neither below zero;
    /// `None` before the first observation.
    pub fn line(&self) -> Option<(f64, f64)> {
        if self.weight == 0.0 {
            return None;
        }
        let spread = self.weight * self.rows_squared - self.rows * self.rows;
        // Calls that all had about the same number of rows say nothing about a slope.
        let per_row = if spread > 1e-9 * self.weight * self.rows_squared {
            ((self.weight * self.rows_seconds - self.rows * self.seconds) / spread).max(0.0)
        } else {
            0.0
        };
        let fixed = ((self.seconds - per_row * self.rows) / self.weight).max(0.0);
        Some((fixed, per_row))
    }

    /// Expected time of a call of `rows` rows; zero before the first observation.
    pub fn expected(&self, rows: usize) -> Duration {
        self.line().map_or(Duration::ZERO, |(fixed, per_row)| Duration::from_secs_f64(fixed + per_row * rows as f64))
    }

    /// Most rows that are expected to be scored within `budget`, at least 1.
    pub fn rows_within(&self, budget: Duration) -> usize {
        match self.line() {
            Some((fixed, per_row)) => solve(budget.as_secs_f64(), fixed, per_row),
            None => UNLIMITED,
        }
    }

    /// Most rows whose call is expected to cost at most `factor` times that of one row.
    pub fn rows_within_factor(&self, factor: f64) -> usize {
        match self.line() {
            Some((fixed, per_row)) => solve(factor * (fixed + per_row), fixed, per_row),
            None => 1,
        }
    }
}

fn solve(budget: f64, fixed: f64, per_row: f64) -> usize {
    if per_row <= 0.0 {
        return if fixed <= budget { UNLIMITED } else { 1 };
    }
    // A float beyond the range of usize becomes its largest value.
    (((budget - fixed) / per_row).floor() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_found() {
        let mut cost = CostModel::default();
        for rows in [1, 8, 64, 256, 1, 16] {
            cost.observe(rows, Duration::from_micros(1700 + 9 * rows as u64));
        }
        let (fixed, per_row) = cost.line().expect("there are observations");
        assert!((fixed - 1.7e-3).abs() < 1e-6 && (per_row - 9e-6).abs() < 1e-9, "{fixed} {per_row}");
        assert_eq!(cost.rows_within(Duration::from_micros(2605)), 100);
    }

    #[test]
    fn one_size_says_nothing_about_a_slope() {
        let mut cost = CostModel::default();
        for _ in 0..10 {
            cost.observe(32, Duration::from_millis(2));
        }
        assert_eq!(cost.rows_within(Duration::from_millis(50)), UNLIMITED);
        assert_eq!(cost.rows_within(Duration::from_millis(1)), 1);
        assert_eq!(cost.expected(7), Duration::from_millis(2));
    }

    #[test]
    fn the_past_fades() {
        let mut cost = CostModel::default();
        for rows in 1..100 {
            cost.observe(rows, Duration::from_millis(100));
        }
        for rows in 1..1000 {
            cost.observe(1 + rows % 100, Duration::from_millis(1));
        }
        assert!(cost.expected(50) < Duration::from_millis(2), "{:?}", cost.expected(50));
    }

    proptest! {
        #[test]
        fn answers_are_sane(calls in prop::collection::vec((1usize..100_000, 0u64..10_000_000), 0..50), budget in 0u64..10_000_000) {
            let mut cost = CostModel::default();
            for (rows, microseconds) in calls {
                cost.observe(rows, Duration::from_micros(microseconds));
            }
            prop_assert!(cost.rows_within(Duration::from_micros(budget)) >= 1);
            prop_assert!(cost.rows_within_factor(1.25) >= 1);
        }
    }
}
