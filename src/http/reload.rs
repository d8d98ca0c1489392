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
use crate::scoring::reload::{Asked, Outcome};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Whether to answer when all is loaded.
    #[serde(default)]
    wait: bool,
}

/// Body of an answer.
#[derive(Serialize)]
struct Reloads<'a> {
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
    let asked = Arc::clone(&exchange.state).reloads.reload(name, version).await?;
    if !options.wait {
        let versions = asked.iter().map(|asked| Version { version: asked.version, outcome: None }).collect();
        return Ok(HttpResponse::Accepted().json(Reloads { name, versions }));
    }
    let mut versions = Vec::new();
    for Asked { version, outcome } in asked {
        let stopping = |_| Error::new(Kind::Unavailable, "the server is stopping and loads nothing any more");
        versions.push(Version { version, outcome: Some(outcome.await.map_err(stopping)?) });
    }
    let failed = versions.iter().filter_map(|version| match &version.outcome {
        Some(Outcome::Failed { reason }) => Some(format!("version {} could not be loaded: {reason}", version.version)),
        _ => None,
    });
    let failed: Vec<String> = failed.collect();
    match failed.is_empty() {
        true => Ok(HttpResponse::Ok().json(Reloads { name, versions })),
        false => Err(Error::new(Kind::NotLoaded, failed.join("; ")).into()),
    }
}
