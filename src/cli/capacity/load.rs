//! Closed-loop load: callers that call again as soon as they have an answer.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use tokio::task::JoinSet;

use crate::frame::schema::Inputs;
use crate::scoring::load::LoadedVersion;
use crate::scoring::{ScoreRequest, Scorer};
use crate::telemetry::context::RequestContext;

/// The share of the time in which a level warms up and nothing is counted.
const WARM_UP: u32 = 5;

/// What one number of callers gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub(super) callers: u32,
    /// Answers per second.
    pub(super) rate: f64,
    /// Median of the time of a request.
    pub(super) p50: Duration,
    /// 99th percentile of it.
    pub(super) p99: Duration,
    /// Mean time that a request waited.
    pub(super) queue: Duration,
    /// Mean time of the call of R that it was in, conversion included.
    pub(super) score: Duration,
}

/// One answer.
struct Observed {
    took: Duration,
    queue: Duration,
    score: Duration,
}

/// Lets so many callers call for so long.
///
/// # Errors
/// Why a request failed: with rows that the model can't score there is nothing
/// to measure.
pub(super) async fn measure(
    loaded: &LoadedVersion,
    inputs: &Inputs<RecordBatch>,
    callers: u32,
    time: Duration,
) -> Result<Level, String> {
    let begin = Instant::now() + time / WARM_UP;
    let end = begin + time;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(call(loaded.scorer.clone(), inputs.clone(), loaded.info.timeout, begin, end));
    }
    let mut observed = Vec::new();
    while let Some(result) = tasks.join_next().await {
        observed.extend(result.map_err(|error| error.to_string())??);
    }
    summary(callers, time, observed)
        .ok_or_else(|| format!("no request was answered within {} s; allow more with --seconds", time.as_secs()))
}

async fn call(
    scorer: Scorer,
    inputs: Inputs<RecordBatch>,
    timeout: Duration,
    begin: Instant,
    end: Instant,
) -> Result<Vec<Observed>, String> {
    let context = RequestContext::untraced("capacity");
    let mut observed = Vec::new();
    loop {
        let started = Instant::now();
        if started >= end {
            return Ok(observed);
        }
        let request = ScoreRequest { inputs: inputs.clone(), deadline: started + timeout, context: context.clone() };
        let scored = scorer.score(request).await.map_err(|error| format!("a request failed: {error}"))?;
        let now = Instant::now();
        if started >= begin && now <= end {
            let times = scored.times;
            observed.push(Observed { took: now - started, queue: times.queue, score: times.convert + times.score });
        }
    }
}

fn summary(callers: u32, time: Duration, mut observed: Vec<Observed>) -> Option<Level> {
    observed.sort_unstable_by_key(|observed| observed.took);
    let count = u32::try_from(observed.len()).ok().filter(|count| *count > 0)?;
    let at = |percent: usize| observed[(observed.len() - 1) * percent / 100].took;
    let mean = |time: fn(&Observed) -> Duration| observed.iter().map(time).sum::<Duration>() / count;
    Some(Level {
        callers,
        rate: f64::from(count) / time.as_secs_f64(),
        p50: at(50),
        p99: at(99),
        queue: mean(|observed| observed.queue),
        score: mean(|observed| observed.score),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_summed_up() {
        let observed = (1..=100)
            .rev()
            .map(|ms| Observed {
                took: Duration::from_millis(ms),
                queue: Duration::from_millis(ms) / 2,
                score: Duration::from_millis(3),
            })
            .collect();
        let level = summary(4, Duration::from_secs(2), observed).expect("answers");
        assert_eq!((level.callers, level.rate), (4, 50.0));
        assert_eq!((level.p50, level.p99), (Duration::from_millis(50), Duration::from_millis(99)));
        assert_eq!(level.queue, Duration::from_micros(25_250));
        assert_eq!(level.score, Duration::from_millis(3));
        assert_eq!(summary(4, Duration::from_secs(2), Vec::new()), None);
    }
}
