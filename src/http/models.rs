//! What is served: models, versions, states, and for each version what a
//! caller needs to know to use it.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::HttpResponse;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::layers::Exchange;
use super::model_path;
use super::respond::Failure;
use crate::error::{Error, Kind};
use crate::frame::schema::{InputSchemas, Schema};
use crate::pool::Health;
use crate::scoring::WorkerCounts;
use crate::scoring::catalog::{LastError, State, StateName};
use crate::scoring::independence::RowIndependence;

/// Body of `GET /models`.
#[derive(Serialize)]
struct ModelList {
    models: Vec<ModelSummary>,
}

/// One model of the list.
#[derive(Serialize)]
struct ModelSummary {
    name: Arc<str>,
    versions: Vec<VersionState>,
    /// The version that is scored when none is asked for.
    default_version: Option<u32>,
}

#[derive(Serialize)]
struct VersionState {
    version: u32,
    state: StateName,
}

/// Body of `GET /models/{name}` and `GET /models/{name}/versions/{version}`.
#[derive(Serialize)]
struct Details<'a> {
    name: &'a str,
    version: u32,
    state: StateName,
    /// Why loading failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Which load of the version this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_at: Option<jiff::Timestamp>,
    /// Whether a generation is being loaded now.
    loading: bool,
    /// Why the last attempt to load it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a LastError>,
    #[serde(flatten)]
    loaded: Option<Loaded<'a>>,
    versions: Vec<VersionState>,
    default_version: Option<u32>,
}

/// What is known of a version that loaded.
#[derive(Serialize)]
struct Loaded<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    class: &'a [String],
    packages: Vec<Package<'a>>,
    digest: &'a str,
    /// Seconds.
    timeout: f64,
    inputs: InputsByName<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<&'a RawValue>,
    workers_ready: usize,
    workers: WorkerCounts,
    /// The process that forks them.
    zygote: Health,
    /// Whether requests share calls of R now.
    joins_requests: bool,
    row_independence: Cow<'a, RowIndependence>,
}

#[derive(Serialize)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
}

/// Inputs as an object in the model's order.
struct InputsByName<'a>(&'a InputSchemas);

impl Serialize for InputsByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, schema) in self.0.iter() {
            let schema: &Schema = schema;
            map.serialize_entry(name, schema)?;
        }
        map.end()
    }
}

/// `GET /models`
pub(crate) async fn list(exchange: &mut Exchange) -> Result<HttpResponse, Failure> {
    let models = exchange.state.catalog.list().into_iter().map(|(name, versions)| ModelSummary {
        default_version: exchange.state.catalog.default_version(&name),
        versions: states(&versions),
        name,
    });
    Ok(HttpResponse::Ok().json(ModelList { models: models.collect() }))
}

/// `GET /models/{name}` for the default version, or for the one in the path.
pub(crate) async fn details(exchange: &mut Exchange) -> Result<HttpResponse, Failure> {
    let (name, asked) = model_path::parse(&exchange.request)?;
    let versions = exchange.state.catalog.versions(name)?;
    let default_version = exchange.state.catalog.default_version(name);
    let wanted = asked.or(default_version);
    let Some((version, state)) = versions.iter().find(|(version, _)| Some(*version) == wanted) else {
        let detail = format!("model '{name}' has no such version; GET /models/{name} lists them");
        return Err(Error::new(Kind::NotFound, detail).into());
    };
    let history = exchange.state.catalog.history(name, *version).unwrap_or_default();
    Ok(HttpResponse::Ok().json(Details {
        name,
        version: *version,
        state: state.name(),
        reason: match state {
            State::Failed { reason } => Some(reason),
            _ => None,
        },
        generation: history.generation,
        loaded_at: history.loaded_at,
        loading: history.loading,
        last_error: history.last_error.as_ref(),
        loaded: loaded(state),
        versions: states(&versions),
        default_version,
    }))
}

fn loaded(state: &State) -> Option<Loaded<'_>> {
    let State::Ready { info, scorer } = state else {
        return None;
    };
    let packages = info.packages.iter().map(|(name, version)| Package { name, version });
    Some(Loaded {
        description: info.description.as_deref(),
        class: &info.class,
        packages: packages.collect(),
        digest: &info.digest,
        timeout: info.timeout.as_secs_f64(),
        inputs: InputsByName(&info.schemas),
        sample: info.sample.as_deref(),
        workers_ready: scorer.ready_workers(),
        workers: scorer.workers(),
        zygote: scorer.health(),
        joins_requests: scorer.joins_requests(),
        row_independence: match scorer.refutation() {
            Some(reason) => Cow::Owned(RowIndependence::Refuted { reason: reason.to_owned() }),
            None => Cow::Borrowed(&info.row_independence),
        },
    })
}

fn states(versions: &[(u32, State)]) -> Vec<VersionState> {
    versions.iter().map(|(version, state)| VersionState { version: *version, state: state.name() }).collect()
}
