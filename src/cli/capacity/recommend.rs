//! From measurements to what to ask of a cluster: pure arithmetic.

use std::time::Duration;

use super::Measured;
use super::load::Level;
use crate::pool::MemoryShare;

/// A level that reaches this part of the best rate is good enough: more callers
/// only wait longer.
const ENOUGH: f64 = 0.95;

/// Part of the best rate that a pod should carry before another is added.
const HEADROOM: f64 = 0.7;

/// Memory limits are multiples of this, in bytes.
const STEP: u64 = 64 << 20;

/// What to ask of a cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recommendation {
    /// Where the rate is near its best and waits are still short.
    pub(super) level: Level,
    /// Workers, and cores with them.
    pub(super) workers: usize,
    /// Memory limit of a pod, in bytes.
    pub(super) memory: u64,
    /// Requests per second that a pod should carry.
    pub(super) requests_per_pod: f64,
    /// Age of the oldest request at which pods are added.
    pub(super) queue_age: Duration,
}

/// What to ask for; none without measurements.
pub(super) fn recommend(measured: &Measured) -> Option<Recommendation> {
    let best = measured.levels.iter().map(|level| level.rate).fold(0.0, f64::max);
    let level = *measured.levels.iter().find(|level| level.rate >= ENOUGH * best)?;
    // Half as much again: models take more while requests are large, and R collects late.
    let generation = measured.memory + measured.memory / 2;
    let limit = MemoryShare::limit_for(generation, measured.zygote, measured.workers);
    let memory = limit.div_ceil(STEP) * STEP;
    // One call beyond the one that runs, and no less than an autoscaler can see.
    let queue_age = (2 * level.score).max(Duration::from_millis(10));
    Some(Recommendation { level, workers: measured.workers, memory, requests_per_pod: HEADROOM * best, queue_age })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(callers: u32, rate: f64, score_ms: u64) -> Level {
        let time = Duration::from_millis(score_ms);
        Level { callers, rate, p50: time, p99: time, queue: Duration::ZERO, score: time }
    }

    #[test]
    fn more_callers_than_needed_are_not_recommended() {
        let measured = Measured {
            model: "boston".to_owned(),
            version: 1,
            workers: 2,
            rows: 1,
            levels: vec![level(1, 500.0, 2), level(16, 3900.0, 8), level(64, 4000.0, 30), level(128, 3950.0, 60)],
            memory: 200 << 20,
            zygote: 100 << 20,
        };
        let recommendation = recommend(&measured).expect("levels");
        assert_eq!(recommendation.level.callers, 16);
        assert_eq!(recommendation.queue_age, Duration::from_millis(16));
        assert_eq!(recommendation.memory, 832 << 20, "twice 200 + 100 MiB, 128 beside them, a tenth to spare");
        assert!((recommendation.requests_per_pod - 2800.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_recommended_without_measurements() {
        let (model, levels) = ("m".to_owned(), Vec::new());
        let measured = Measured { model, version: 1, workers: 1, rows: 1, levels, memory: 0, zygote: 0 };
        assert_eq!(recommend(&measured), None);
    }
}
