//! What the operator sees: the log, the metrics, the traces, and which build this is.

pub mod build;
pub mod context;
pub mod logging;
pub mod metrics;
pub mod traces;
