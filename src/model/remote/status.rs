//! What an operator is told about a mirror: whether the store answers, what is
//! being fetched, and what could not be.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::{Progress, Round};
use crate::store::StoreError;

/// A mirror and its store, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// URL of the repository.
    pub location: String,
    /// Whether the folder has what the store has.
    pub state: SourceState,
    /// Versions in place after the last comparison.
    pub versions: usize,
    /// Bytes that came since the start, of those that were to come.
    pub received_bytes: u64,
    /// Bytes of all versions that were begun since the start.
    pub expected_bytes: u64,
    /// Why the store can't be listed, or versions could not be fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How the folder stands to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// They were not compared yet.
    Starting,
    /// Something is being fetched.
    Fetching,
    /// The folder has what is complete in the store, but for what `problems` says.
    Current,
    /// The store can't be listed.
    Away,
}

/// Reads the status; clones read the same.
#[derive(Debug, Clone)]
pub struct StatusReader {
    status: watch::Receiver<Status>,
    progress: Arc<Progress>,
}

impl StatusReader {
    /// The status now.
    pub fn read(&self) -> Status {
        let (received_bytes, expected_bytes) = self.progress.bytes();
        Status { received_bytes, expected_bytes, ..self.status.borrow().clone() }
    }
}

/// The mirror's end.
#[derive(Debug)]
pub(super) struct StatusSender {
    status: watch::Sender<Status>,
    progress: Arc<Progress>,
}

impl StatusSender {
    pub(super) fn new(location: String, progress: Arc<Progress>) -> Self {
        let (state, problems) = (SourceState::Starting, Vec::new());
        let status = Status { location, state, versions: 0, received_bytes: 0, expected_bytes: 0, problems };
        Self { status: watch::Sender::new(status), progress }
    }

    pub(super) fn reader(&self) -> StatusReader {
        StatusReader { status: self.status.subscribe(), progress: Arc::clone(&self.progress) }
    }

    pub(super) fn fetching(&self) {
        self.status.send_modify(|status| status.state = SourceState::Fetching);
    }

    pub(super) fn away(&self, error: &StoreError) {
        self.status.send_modify(|status| {
            status.state = SourceState::Away;
            status.problems = vec![error.to_string()];
        });
    }

    pub(super) fn compared(&self, round: &Round, versions: usize) {
        self.status.send_modify(|status| {
            status.state = if round.unsettled.is_empty() { SourceState::Current } else { SourceState::Fetching };
            status.versions = versions;
            status.problems =
                round.failed.iter().map(|((model, version), why)| format!("{model}/{version}: {why}")).collect();
        });
    }
}
