//! Having a version loaded again. What is loaded is what the repository has: a
//! request names a model and a version, and never a path or a body.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Query;
use serde::{Deserialize, Serialize};

use super::layers::Exchange;
use super::model_path;
use super::respond::Failure;
use crate::error::{Error, Kind};
use crate::lifecycle::Phase;
use crate::scoring::reload::{Asked, Outcome, Reloads, stopping};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Whether to answer when all is loaded.
    #[serde(default)]
    wait: bool,
}

/// Body of an answer.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    versions: Vec<Version>,
}

#[derive(Serialize)]
struct Version {
    version: u32,
    /// How it ended, for those who waited.
    #[serde(flatten)]
    outcome: Option<Outcome>,
}

/// `POST /models/{name}/reload` for all versions, or for the one in the path.
///
/// # Errors
/// Nothing of that name, or, for those who wait, a version that could not be
/// loaded. What served before goes on then.
pub(crate) async fn reload(exchange: &mut Exchange) -> Result<HttpResponse, Failure> {
    let (name, version) = model_path::parse(&exchange.request)?;
    let options = Query::<Options>::from_query(exchange.request.query_string())
        .map_err(|_| Error::malformed("the only parameter of a reload is wait, which is true or false"))?;
    let state = Arc::clone(&exchange.state);
    let mut phases = state.lifecycle.subscribe();
    // Who waits for a load must not hold up a stop, which the load would not survive.
    let versions = tokio::select! {
        biased;
        versions = ask(&state.reloads, name, version, options.wait) => versions?,
        _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Err(stopping().into()),
    };
    if !options.wait {
        return Ok(HttpResponse::Accepted().json(Body { name, versions }));
    }
    let failed = versions.iter().filter_map(|version| match &version.outcome {
        Some(Outcome::Failed { reason }) => Some(format!("version {} could not be loaded: {reason}", version.version)),
        _ => None,
    });
    let failed: Vec<String> = failed.collect();
    match failed.is_empty() {
        true => Ok(HttpResponse::Ok().json(Body { name, versions })),
        false => Err(Error::new(Kind::NotLoaded, failed.join("; ")).into()),
    }
}

/// The versions that are loaded, with how that ended for those who wait.
async fn ask(reloads: &Reloads, name: &str, version: Option<u32>, wait: bool) -> Result<Vec<Version>, Error> {
    let mut versions = Vec::new();
    for Asked { version, outcome } in reloads.reload(name, version).await? {
        let outcome = if wait { Some(outcome.await.map_err(|_| stopping())?) } else { None };
        versions.push(Version { version, outcome });
    }
    Ok(versions)
}
