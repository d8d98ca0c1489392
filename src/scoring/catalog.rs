//! What can be scored now: every model version that was found, its state, its
//! metadata, and for loaded ones the handle that scores. Doors look models up
//! here and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde::Serialize;

use super::Scorer;
use super::independence::RowIndependence;
use crate::error::{Error, Kind, Result};
use crate::frame::schema::InputSchemas;
use crate::telemetry::metrics;

/// What is known about a version that loaded: read off the R object, or said
/// by its manifest.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// Free text from the manifest.
    pub description: Option<String>,
    /// Class vector of the R object.
    pub class: Vec<String>,
    /// Packages that were attached, with versions, for example `("randomForest", "4.7-1.1")`.
    pub packages: Vec<(String, String)>,
    /// SHA-256 of the bundle, hexadecimal.
    pub digest: String,
    /// Schemas of the inputs.
    pub schemas: InputSchemas,
    /// Longest time that a request may take.
    pub timeout: Duration,
    /// Whether requests may be joined, and how that is known.
    pub row_independence: RowIndependence,
    /// The bundle's sample input as it stands on disk (JSON), if it has one.
    pub sample: Option<Arc<serde_json::value::RawValue>>,
}

/// State of a version.
#[derive(Clone)]
pub enum State {
    /// Being loaded.
    Loading,
    /// Can be scored.
    Ready {
        /// Metadata.
        info: Arc<ModelInfo>,
        /// Scores its requests.
        scorer: Scorer,
    },
    /// Could not be loaded; the reason is for the operator and may be shown
    /// in metadata.
    Failed {
        /// A sentence: what was wrong, where, what to do.
        reason: String,
    },
}

/// Name of a state, as metadata says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// [`State::Loading`]
    Loading,
    /// [`State::Ready`]
    Ready,
    /// [`State::Failed`]
    Failed,
}

impl StateName {
    /// All of them.
    const ALL: [Self; 3] = [Self::Loading, Self::Ready, Self::Failed];

    /// The name.
    fn text(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

impl State {
    /// The state without its contents.
    pub fn name(&self) -> StateName {
        match self {
            Self::Loading => StateName::Loading,
            Self::Ready { .. } => StateName::Ready,
            Self::Failed { .. } => StateName::Failed,
        }
    }
}

/// A version that can be scored.
#[derive(Clone)]
pub struct Served {
    /// Model name.
    pub name: Arc<str>,
    /// Version number.
    pub version: u32,
    /// Metadata.
    pub info: Arc<ModelInfo>,
    /// Scores its requests.
    pub scorer: Scorer,
}

/// States by version number, in order.
pub type Versions = Vec<(u32, State)>;

/// How a version came to what it is.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Number of the generation that serves: how many times the version was loaded.
    pub generation: Option<u64>,
    /// When that was.
    pub loaded_at: Option<jiff::Timestamp>,
    /// Why the last attempt to load it failed; nothing after one that succeeded.
    pub last_error: Option<LastError>,
    /// Whether it is being loaded at the moment.
    pub loading: bool,
}

/// A load that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When.
    pub at: jiff::Timestamp,
    /// Why, shortened.
    pub reason: String,
}

/// Longest reason that is kept, in characters. R's messages have no limit.
const MAX_REASON: usize = 2000;

#[derive(Clone)]
struct Record {
    state: State,
    history: History,
    /// Whether the server was started with it and has not loaded it yet.
    awaited: bool,
}

type Models = BTreeMap<Arc<str>, BTreeMap<u32, Record>>;

/// All models by name and version. Cheap to clone; clones share their state.
#[derive(Clone, Default)]
pub struct Catalog {
    models: Arc<RwLock<Models>>,
}

impl Catalog {
    /// Sets the state of a version, adding it when it is new.
    pub fn set(&self, name: &str, version: u32, state: State) {
        let mut models = self.write();
        let versions = models.entry(Arc::from(name)).or_default();
        let record = versions.entry(version).or_insert_with(Record::new);
        record.awaited = false;
        let before = std::mem::replace(&mut record.state, state);
        drop(models);
        // What served before may end with its last handle, which is not for the lock.
        drop(before);
    }

    /// Adds a version that the server is started with: it is the default of its
    /// model before any earlier one, even while it is loading.
    pub fn await_first(&self, name: &str, version: u32) {
        let record = Record { awaited: true, ..Record::new() };
        self.write().entry(Arc::from(name)).or_default().insert(version, record);
    }

    /// Notes that a version is being loaded; what serves meanwhile stays.
    pub fn begin(&self, name: &str, version: u32) {
        let mut models = self.write();
        let versions = models.entry(Arc::from(name)).or_default();
        versions.entry(version).or_insert_with(Record::new).history.loading = true;
    }

    /// Notes that a load changed nothing.
    pub fn unchanged(&self, name: &str, version: u32) {
        self.change(name, version, |record| {
            record.history.loading = false;
            record.history.last_error = None;
        });
    }

    /// From now on, requests go to another generation of a version.
    pub fn switch(&self, name: &str, version: u32, generation: u64, info: Arc<ModelInfo>, scorer: Scorer) {
        let history =
            History { generation: Some(generation), loaded_at: Some(jiff::Timestamp::now()), ..History::default() };
        let mut before = None;
        self.change(name, version, |record| {
            let now = Record { state: State::Ready { info, scorer }, history, awaited: false };
            before = Some(std::mem::replace(record, now));
        });
        drop(before);
    }

    /// Notes that a version could not be loaded; what serves stays.
    pub fn fail(&self, name: &str, version: u32, reason: &str) {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        self.change(name, version, |record| {
            record.awaited = false;
            record.history.loading = false;
            record.history.last_error = Some(LastError { at: jiff::Timestamp::now(), reason: reason.clone() });
            if !matches!(record.state, State::Ready { .. }) {
                record.state = State::Failed { reason };
            }
        });
    }

    /// Forgets a version; requests that have its scorer go on. Says whether there
    /// was one.
    pub fn remove(&self, name: &str, version: u32) -> bool {
        let mut models = self.write();
        let Some(versions) = models.get_mut(name) else { return false };
        let removed = versions.remove(&version);
        if removed.is_some() {
            publish(name, version, None);
        }
        if versions.is_empty() {
            models.remove(name);
        }
        drop(models);
        removed.is_some()
    }

    /// Every model with the states of its versions, in order of name and version.
    pub fn list(&self) -> Vec<(Arc<str>, Versions)> {
        self.read().iter().map(|(name, versions)| (name.clone(), states(versions))).collect()
    }

    /// The states of one model's versions; [`Kind::NotFound`] when there is no such model.
    pub fn versions(&self, name: &str) -> Result<Versions> {
        self.read().get(name).map(states).ok_or_else(|| no_such_model(name))
    }

    /// How a version came to what it is.
    pub fn history(&self, name: &str, version: u32) -> Option<History> {
        self.read().get(name)?.get(&version).map(|record| record.history.clone())
    }

    /// The version that is scored when none is asked for: the highest that is
    /// ready, or that the server was started with and is still being loaded. When
    /// none is, the highest.
    pub fn default_version(&self, name: &str) -> Option<u32> {
        default_version(self.read().get(name)?)
    }

    /// The version to score: the one asked for, else the default.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without such a model or version, [`Kind::Unavailable`]
    /// while it is loading or when it failed to load.
    pub fn resolve(&self, name: &str, version: Option<u32>) -> Result<Served> {
        let models = self.read();
        let Some((name, versions)) = models.get_key_value(name) else {
            return Err(no_such_model(name));
        };
        let found = version.or_else(|| default_version(versions)).and_then(|version| versions.get_key_value(&version));
        let Some((&version, record)) = found else {
            let known: Vec<String> = versions.keys().map(u32::to_string).collect();
            return Err(Error::new(
                Kind::NotFound,
                format!("model '{name}' has no such version; it has {}", known.join(", ")),
            ));
        };
        match &record.state {
            State::Ready { info, scorer } => {
                Ok(Served { name: name.clone(), version, info: info.clone(), scorer: scorer.clone() })
            }
            State::Loading => {
                Err(Error::new(Kind::Unavailable, format!("model '{name}' version {version} is loading")))
            }
            State::Failed { .. } => Err(Error::new(
                Kind::Unavailable,
                format!("model '{name}' version {version} could not be loaded; GET /models/{name} says why"),
            )),
        }
    }

    /// Sets the gauges of all states.
    pub fn publish_metrics(&self) {
        for (name, versions) in self.read().iter() {
            for (version, record) in versions {
                publish(name, *version, Some(record.state.name()));
            }
        }
    }

    fn change(&self, name: &str, version: u32, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.write().get_mut(name).and_then(|versions| versions.get_mut(&version)) {
            change(record);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Models> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn new() -> Self {
        Self { state: State::Loading, history: History::default(), awaited: false }
    }

    fn is_eligible(&self) -> bool {
        self.awaited || matches!(self.state, State::Ready { .. })
    }
}

/// Under the lock of the models, so that what is gone is not seen again.
fn publish(name: &str, version: u32, current: Option<StateName>) {
    for state in StateName::ALL {
        metrics::model_state((name, version), state.text(), current == Some(state));
    }
}

fn default_version(versions: &BTreeMap<u32, Record>) -> Option<u32> {
    let eligible = versions.iter().rev().find(|(_, record)| record.is_eligible());
    eligible.or_else(|| versions.last_key_value()).map(|(version, _)| *version)
}

fn states(versions: &BTreeMap<u32, Record>) -> Versions {
    versions.iter().map(|(version, record)| (*version, record.state.clone())).collect()
}

fn no_such_model(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no model '{name}'; GET /models lists them"))
}

#[cfg(test)]
mod tests;
