//! What all handlers of one server share.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use crate::auth::Verifier;
use crate::lifecycle::Lifecycle;
use crate::model::remote::StatusReader;
use crate::scoring::catalog::Catalog;
use crate::scoring::reload::Reloads;
use crate::telemetry::traces::{Scheme, Traces};

/// Writes all metrics in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Bounds of bodies that are scored piece by piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    /// Most bytes in all.
    pub(crate) max_bytes: usize,
    /// Longest row, in bytes.
    pub(crate) max_record_bytes: usize,
    /// Most rows of a piece.
    pub(crate) rows: usize,
    /// Bytes per second that a body must bring.
    pub(crate) min_rate: usize,
}

/// How requests are traced.
pub(crate) struct Tracing {
    pub(crate) traces: Traces,
    pub(crate) scheme: Scheme,
}

/// State of the callers' and the operator's listeners.
pub(crate) struct State {
    pub(crate) catalog: Catalog,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) admission: Admission,
    /// Largest body before and after decompression, in bytes.
    pub(crate) max_body_bytes: usize,
    /// Most rows of one request.
    pub(crate) max_rows: usize,
    /// Bounds of bodies that are scored piece by piece.
    pub(crate) stream: StreamLimits,
    /// How long a body may take to arrive.
    pub(crate) body_timeout: Duration,
    /// Whether callers see R's own message and call.
    pub(crate) expose_model_errors: bool,
    /// Whether a model that can't be loaded makes the server unready.
    pub(crate) require_all: bool,
    pub(crate) reloads: Reloads,
    /// The repository's mirror, when it lies in blob storage.
    pub(crate) repository: Option<StatusReader>,
    pub(crate) render_metrics: RenderMetrics,
    /// Nothing is traced without.
    pub(crate) tracing: Option<Tracing>,
}
