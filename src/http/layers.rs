//! What every request passes, in order: request id and record, token, scope,
//! phase, handler; and on the way back: panics, problems, headers. Routes and
//! fallbacks all come through [`answer`], so nothing is reachable around it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::Payload;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::FutureExt;

use super::access_log::Record;
use super::admission::RETRY_AFTER;
use super::connections::{Connection, RequestUnderway};
use super::doors::{Rest, count_overload};
use super::reply_body::ReplyBody;
use super::respond::{self, Failure};
use super::routes::{Needs, Operation, Target};
use super::state::State;
use super::{authenticate, body, request_id};
use crate::auth::Scope;
use crate::error::{Error, Kind, Overload};
use crate::lifecycle::{Phase, panic_text};
use crate::telemetry::metrics;

/// One request on its way through the layers.
pub(crate) struct Exchange {
    pub(crate) request: HttpRequest,
    pub(crate) payload: Payload,
    pub(crate) state: Arc<State>,
    pub(crate) record: Record,
    /// Its place on its connection; nothing when there was none left.
    underway: Option<RequestUnderway>,
    /// What follows the head of the answer, when it is made while it is sent.
    pub(crate) rest: Option<Rest>,
}

/// Answers a request, whatever happens.
pub(crate) async fn answer(request: HttpRequest, payload: Payload, target: Target) -> HttpResponse<ReplyBody> {
    let Some(state) = request.app_data::<Data<State>>().map(|data| Arc::clone(data)) else {
        unreachable!("routes::configure is only used with the state")
    };
    let record = Record::begin(&request, target.door(), state.lifecycle.begin_request(), state.tracing.as_ref());
    let underway = request.conn_data::<Connection>().and_then(Connection::begin_request);
    let mut exchange = Exchange { request, payload, state, record, underway, rest: None };
    // The exchange is not used after a panic but for its id and its record.
    let outcome = AssertUnwindSafe(authorise_and_run(&mut exchange, target)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()).into()));
    let is_broken = outcome.as_ref().is_err_and(|failure| body::is_broken(&failure.error));
    let mut response = match outcome {
        Ok(response) => response,
        Err(failure) => {
            exchange.record.failed(&failure.error);
            respond::problem(&failure, &exchange.record.context.id, exchange.state.expose_model_errors)
        }
    };
    if is_broken {
        // Where the next request would begin nobody knows, and nothing more comes of this body.
        response.head_mut().set_connection_type(ConnectionType::Close);
        return finish(exchange, response, None);
    }
    let unread = body::discard(exchange.payload.take(), exchange.request.headers()).await;
    finish(exchange, response, unread)
}

/// What becomes of a request whose handler panicked.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::internal(format!("a handler panicked: {}", panic_text(panic)))
}

async fn authorise_and_run(exchange: &mut Exchange, target: Target) -> Result<HttpResponse, Failure> {
    if exchange.underway.is_none() {
        let overloaded = Kind::Overloaded { what: Overload::Connection, retry_after: RETRY_AFTER };
        let error = Error::new(overloaded, "too many requests are under way on this connection; wait for an answer");
        count_overload(&error);
        return Err(error.into());
    }
    let principal = authenticate::principal(exchange.request.headers(), &exchange.state.verifier)?;
    exchange.record.subject = Some(principal.subject.clone());
    let operation = match target {
        Target::Operation(operation) => operation,
        Target::NotFound => {
            let detail = "there is no such route; GET /models lists the models";
            return Err(Error::new(Kind::NotFound, detail).into());
        }
        Target::MethodNotAllowed { allowed } => {
            let detail = format!("this route has {allowed}");
            return Err(Error::new(Kind::MethodNotAllowed { allowed }, detail).into());
        }
    };
    authenticate::require(&principal, &scope(&exchange.request, operation))?;
    check_phase(exchange.state.lifecycle.phase(), operation)?;
    (operation.handler)(exchange).await
}

/// The scope for an operation on the model in the path.
fn scope(request: &HttpRequest, operation: &Operation) -> Scope {
    match operation.needs {
        Needs::ScoreModelInPath => Scope::Score(request.match_info().query("name").to_owned()),
        Needs::ModelsRead => Scope::ModelsRead,
        Needs::ModelsWrite => Scope::ModelsWrite,
    }
}

/// Metadata can be read from the start on; scoring waits for the models, and so do
/// reloads, which nobody would take up. A draining server begins nothing new.
fn check_phase(phase: Phase, operation: &Operation) -> Result<(), Error> {
    let refuse = |reason: &'static str, detail: &'static str| {
        metrics::rejected(reason);
        Err(Error::new(Kind::Unavailable, detail))
    };
    match phase {
        Phase::Starting if operation.needs != Needs::ModelsRead => {
            refuse("starting", "the server is loading its models; try again later")
        }
        Phase::Starting | Phase::Serving | Phase::Leaving => Ok(()),
        Phase::Draining | Phase::Stopped => {
            refuse("draining", "the server is shutting down; try again, on a new connection")
        }
    }
}

fn finish(mut exchange: Exchange, response: HttpResponse, unread: Option<Payload>) -> HttpResponse<ReplyBody> {
    let (mut head, body) = response.into_parts();
    // Handlers answer from memory; a stream here is a defect.
    let body = body.try_into_bytes().unwrap_or_else(|_| {
        exchange.record.failed(&Error::internal("a handler answered with a stream"));
        *head.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        bytes::Bytes::new()
    });
    exchange.record.answered(head.status());
    head.headers_mut().insert(request_id::X_REQUEST_ID, request_id::header_value(&exchange.record.context.id));
    // Who connects again comes to where the load balancer sends it.
    if exchange.state.lifecycle.phase() >= Phase::Leaving {
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    match exchange.rest {
        Some(rest) => head.set_body(ReplyBody::streamed(rest, exchange.record, exchange.underway)),
        None => head.set_body(ReplyBody::new(body, exchange.record, exchange.underway, unread)),
    }
}
