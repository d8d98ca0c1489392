//! How the zygote of a pool is, for whoever asks: metadata, readiness, and the
//! dispatcher, which refuses at once what can't be scored at present.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// State of the process that forks a version's workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZygoteState {
    /// It can be forked.
    #[default]
    Ready,
    /// It ended, and another one is being started.
    Restarting,
    /// It could not be started several times in a row; it is tried now and then.
    Broken,
}

/// How the processes of a version are; metadata show it as that of the zygote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Workers that exist, busy or idle.
    #[serde(skip)]
    pub workers: usize,
    /// The process that forks them.
    #[serde(rename = "state")]
    pub zygote: ZygoteState,
    /// Zygotes that took the place of one that ended.
    #[serde(rename = "restarts")]
    pub zygote_restarts: u64,
    /// What went wrong last with a process of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why the zygote ended or could not be started, until one is.
    #[serde(skip)]
    pub zygote_error: Option<String>,
}

impl Health {
    /// Why nothing can be scored now; none when something can.
    pub fn outage(&self) -> Option<String> {
        if self.workers > 0 {
            return None;
        }
        let state = match self.zygote {
            ZygoteState::Ready => "its workers are being replaced",
            ZygoteState::Restarting => "the process that holds the model is being started again",
            ZygoteState::Broken => {
                "the process that holds the model could not be started again and is tried now and then"
            }
        };
        let cause = self.zygote_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        Some(format!("the model has no worker, and {state}{cause}"))
    }
}

/// The health of one pool as it changes.
#[derive(Debug, Default)]
pub(super) struct HealthRecord {
    state: Mutex<Health>,
    broken: AtomicBool,
}

impl HealthRecord {
    /// Whether the zygote could not be started several times in a row.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) fn zygote_is(&self, state: ZygoteState) {
        self.broken.store(state == ZygoteState::Broken, Ordering::Relaxed);
        self.lock().zygote = state;
    }

    pub(super) fn zygote_restarted(&self) {
        {
            let mut state = self.lock();
            state.zygote_restarts += 1;
            state.zygote_error = None;
        }
        self.zygote_is(ZygoteState::Ready);
    }

    pub(super) fn worker_failed(&self, error: String) {
        self.lock().last_error = Some(error);
    }

    pub(super) fn zygote_failed(&self, error: String) {
        let mut state = self.lock();
        state.last_error = Some(error.clone());
        state.zygote_error = Some(error);
    }

    pub(super) fn read(&self, workers: usize) -> Health {
        Health { workers, ..self.lock().clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_says_why() {
        let record = HealthRecord::default();
        record.zygote_is(ZygoteState::Broken);
        record.zygote_failed("no such file".to_owned());
        record.worker_failed("a worker died (signal 9)".to_owned());
        assert!(record.is_broken());
        assert_eq!(record.read(1).outage(), None, "one worker is enough to score");
        let outage = record.read(0).outage().unwrap_or_default();
        assert!(outage.contains("tried now and then: no such file"), "{outage}");
        record.zygote_restarted();
        assert!(!record.is_broken());
        assert_eq!(record.read(0).zygote_restarts, 1);
    }
}
