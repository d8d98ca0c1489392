//! The operator's listener: liveness, readiness and metrics. Open to whoever
//! reaches it, which is why it is on an address of its own. It answers until
//! the very end of a drain.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::request_id;
use super::respond::{self, Failure};
use super::state::{RenderMetrics, State};
use crate::error::{Error, Kind};
use crate::lifecycle::Phase;
use crate::model::remote::{Status, StatusReader};
use crate::scoring::catalog::{self, StateName};

/// Media type of the Prometheus text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Body of `GET /readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    phase: Phase,
    /// Where the models come from, when that is blob storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<Status>,
    models: Vec<ModelReadiness>,
}

/// The default version of one model.
#[derive(Debug, Serialize)]
struct ModelReadiness {
    name: Arc<str>,
    version: u32,
    state: StateName,
    workers_ready: usize,
    /// Why loading failed, or why nothing can be scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Registers the routes of this listener.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    let get_only = || web::route().to(method_not_allowed);
    for (path, route) in
        [("/livez", web::get().to(live)), ("/readyz", web::get().to(ready)), ("/metrics", web::get().to(metrics))]
    {
        app.service(web::resource(path).route(route).default_service(get_only()));
    }
    app.default_service(web::route().to(not_found));
}

/// Registers the routes of a process that has no callers.
pub(crate) fn configure_metrics(app: &mut web::ServiceConfig) {
    app.route("/livez", web::get().to(live)).route("/metrics", web::get().to(metrics_alone));
}

async fn metrics_alone(render: Data<RenderMetrics>) -> HttpResponse {
    HttpResponse::Ok().content_type(PROMETHEUS_TEXT).body(render())
}

/// Says that the process runs. It looks at nothing, so that no slow model can
/// have it killed.
async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

async fn ready(state: Data<State>) -> HttpResponse {
    let readiness = readiness(&state);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(readiness)
}

async fn metrics(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type(PROMETHEUS_TEXT).body((state.render_metrics)())
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refuse(&request, Kind::NotFound, "the operator's listener has /livez, /readyz and /metrics")
}

async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    refuse(&request, Kind::MethodNotAllowed { allowed: "GET" }, "this route has GET")
}

fn refuse(request: &HttpRequest, kind: Kind, detail: &'static str) -> HttpResponse {
    let id = request_id::request_id(request.headers());
    respond::problem(&Failure::from(Error::new(kind, detail)), &id, false)
}

/// Ready means that the default version of every model can score now. A model
/// that could not be loaded counts only when the operator requires all.
fn readiness(state: &State) -> Readiness {
    let phase = state.lifecycle.phase();
    let mut ready = phase == Phase::Serving;
    let mut models = Vec::new();
    for (name, versions) in state.catalog.list() {
        let default = state.catalog.default_version(&name);
        let Some((version, default)) = versions.into_iter().find(|(version, _)| Some(*version) == default) else {
            continue;
        };
        let (workers_ready, reason) = match &default {
            catalog::State::Ready { scorer, .. } => {
                let health = scorer.health();
                (health.workers, health.outage())
            }
            catalog::State::Failed { reason } => (0, Some(reason.clone())),
            catalog::State::Loading => (0, None),
        };
        let excused = default.name() == StateName::Failed && !state.require_all;
        ready &= workers_ready > 0 || excused;
        models.push(ModelReadiness { name, version, state: default.name(), workers_ready, reason });
    }
    let repository = state.repository.as_ref().map(StatusReader::read);
    Readiness { ready, phase, repository, models }
}
