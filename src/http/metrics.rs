//! What the HTTP listeners count. Labels are names that the server knows: a
//! model's only once it was found in the catalog, never text from a URL.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// A stage between the last byte of a body and the first of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Bytes to typed columns.
    Decode,
    /// Waiting for a worker.
    Queue,
    /// Columns to R and back.
    Convert,
    /// Inside R.
    Score,
    /// Columns to bytes.
    Encode,
}

impl Stage {
    /// Value of the label and name in `Server-Timing`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Convert => "convert",
            Self::Score => "score",
            Self::Encode => "encode",
        }
    }
}

/// A request is over; `model` is what the catalog found for it.
pub(crate) fn request(door: &'static str, model: Option<(&str, u32)>, status: u16, duration: Duration) {
    let (name, version) = labels(model);
    counter!("rscore_requests_total", "door" => door, "model" => name.clone(), "version" => version.clone(),
        "code" => status.to_string())
    .increment(1);
    histogram!("rscore_request_duration_seconds", "door" => door, "model" => name, "version" => version)
        .record(duration.as_secs_f64());
}

/// A request spent so long in a stage.
pub(crate) fn stage(stage: Stage, model: (&str, u32), duration: Duration) {
    let (name, version) = labels(Some(model));
    histogram!("rscore_stage_duration_seconds", "stage" => stage.name(), "model" => name, "version" => version)
        .record(duration.as_secs_f64());
}

/// Requests that were begun and are not over changed by `change`.
pub(crate) fn in_flight(change: f64) {
    gauge!("rscore_in_flight_requests").increment(change);
}

/// A request was turned away before it was worked on.
pub(crate) fn rejected(reason: &'static str) {
    counter!("rscore_rejected_total", "reason" => reason).increment(1);
}

/// A token was missing, refused, or lacked a scope.
pub(crate) fn auth_failure(reason: &'static str) {
    counter!("rscore_auth_failures_total", "reason" => reason).increment(1);
}

fn labels(model: Option<(&str, u32)>) -> (String, String) {
    model.map_or_else(Default::default, |(name, version)| (name.to_owned(), version.to_string()))
}
