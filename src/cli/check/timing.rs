//! How long the model takes for one row and for many: through the whole worker
//! path, without HTTP.

use std::time::{Duration, Instant};

use crate::cli::trial;
use crate::scoring::ScoreRequest;
use crate::scoring::load::LoadedVersion;
use crate::telemetry::context::RequestContext;

/// Row counts that are timed.
const ROWS: [usize; 2] = [1, 64];

/// Calls per row count; the first ones, in which R compiles, are not counted.
const CALLS: usize = 25;
const WARM_UP: usize = 5;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Rows per call.
    pub(super) rows: usize,
    /// Median time of a call, socket included.
    pub(super) call: Duration,
    /// Median time inside R.
    pub(super) score: Duration,
}

/// Times each row count; empty when the model's columns are not known, so that
/// no rows can be made up.
///
/// # Errors
/// Why the model could not score the rows.
pub(super) async fn measure(loaded: &LoadedVersion) -> Result<Vec<Timing>, String> {
    let mut timings = Vec::new();
    for rows in ROWS {
        let Some(inputs) = trial::inputs(loaded, rows)? else { return Ok(timings) };
        let (mut calls, mut scores) = (Vec::new(), Vec::new());
        for call in 0..WARM_UP + CALLS {
            let request = ScoreRequest {
                inputs: inputs.clone(),
                deadline: Instant::now() + loaded.info.timeout,
                context: RequestContext::untraced("check"),
            };
            let started = Instant::now();
            let scored = match loaded.scorer.score(request).await {
                Ok(scored) => scored,
                // Made-up rows may be nonsense to the model; that proves nothing.
                Err(_) if loaded.sample_inputs.is_none() => return Ok(timings),
                Err(error) => return Err(format!("{rows} rows of the sample: {error}")),
            };
            if call >= WARM_UP {
                calls.push(started.elapsed());
                scores.push(scored.times.score);
            }
        }
        timings.push(Timing { rows, call: median(&mut calls), score: median(&mut scores) });
    }
    Ok(timings)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
