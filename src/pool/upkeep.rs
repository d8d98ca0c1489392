//! How workers are kept fit, and for how long.

use std::time::Duration;

use crate::config::settings::WorkerSettings;

/// The bounds that a pool keeps its workers in.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// How long R has to stop after it was interrupted at a deadline.
    pub interrupt_grace: Duration,
}

impl From<&WorkerSettings> for Upkeep {
    fn from(settings: &WorkerSettings) -> Self {
        Self { interrupt_grace: settings.interrupt_grace }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self::from(&WorkerSettings::default())
    }
}
