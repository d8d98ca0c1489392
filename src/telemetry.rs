//! What the operator sees: the log, the metrics, and which build this is.

pub mod build;
pub mod logging;
pub mod metrics;
