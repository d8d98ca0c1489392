//! What can be scored now: every model version that was found, its state, its
//! metadata, and for loaded ones the handle that scores. Doors look models up
//! here and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::Serialize;

use super::Scorer;
use super::independence::RowIndependence;
use crate::error::{Error, Kind, Result};
use crate::frame::schema::InputSchemas;

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

type Models = BTreeMap<Arc<str>, BTreeMap<u32, State>>;

/// All models by name and version. Cheap to clone; clones share their state.
#[derive(Clone, Default)]
pub struct Catalog {
    models: Arc<RwLock<Models>>,
}

impl Catalog {
    /// Sets the state of a version, adding it when it is new.
    pub fn set(&self, name: &str, version: u32, state: State) {
        let mut models = self.models.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        models.entry(Arc::from(name)).or_default().insert(version, state);
    }

    /// Every model with the states of its versions, in order of name and version.
    pub fn list(&self) -> Vec<(Arc<str>, Versions)> {
        let models = self.models.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        models
            .iter()
            .map(|(name, versions)| (name.clone(), versions.iter().map(|(v, s)| (*v, s.clone())).collect()))
            .collect()
    }

    /// The states of one model's versions; [`Kind::NotFound`] when there is no such model.
    pub fn versions(&self, name: &str) -> Result<Versions> {
        let models = self.models.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        models
            .get(name)
            .map(|versions| versions.iter().map(|(v, s)| (*v, s.clone())).collect())
            .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no model '{name}'; GET /models lists them")))
    }

    /// The version to score: the one asked for, else the highest.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without such a model or version, [`Kind::Unavailable`]
    /// while it is loading or when it failed to load.
    pub fn resolve(&self, name: &str, version: Option<u32>) -> Result<Served> {
        let models = self.models.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((name, versions)) = models.get_key_value(name) else {
            return Err(Error::new(Kind::NotFound, format!("there is no model '{name}'; GET /models lists them")));
        };
        let found = match version {
            Some(version) => versions.get_key_value(&version),
            None => versions.last_key_value(),
        };
        let Some((&version, state)) = found else {
            let known: Vec<String> = versions.keys().map(u32::to_string).collect();
            return Err(Error::new(
                Kind::NotFound,
                format!("model '{name}' has no such version; it has {}", known.join(", ")),
            ));
        };
        match state {
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
}
