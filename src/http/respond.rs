//! The one table from errors to HTTP answers, written as problem details
//! (RFC 9457). Causes are for the log and never get here.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;

use super::authenticate::Challenge;
use super::{coding, negotiate};
use crate::error::{CellError, Condition, Error, Kind};

/// Media type of error bodies.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// When a caller should come back while the server is starting or draining.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A failure on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<Error>,
    /// What `WWW-Authenticate` says, for 401 and 403.
    pub(crate) challenge: Option<Challenge>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), challenge: None }
    }
}

/// How HTTP says one kind of error.
struct Meaning {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
}

fn meaning(kind: &Kind) -> Meaning {
    let (status, slug, title) = match kind {
        Kind::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
        Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid bearer token is needed"),
        Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token lacks the scope for this"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
        Kind::MethodNotAllowed { .. } => {
            (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The route doesn't have this method")
        }
        Kind::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "No accepted media type can be produced"),
        Kind::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body took too long to arrive"),
        Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
        Kind::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body's format is not supported")
        }
        Kind::Unprocessable => {
            (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "The data does not fit the model's schema")
        }
        Kind::Overloaded { .. } => (StatusCode::TOO_MANY_REQUESTS, "overloaded", "The server is busy"),
        Kind::ModelFailed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "model-error", "The model raised an error"),
        Kind::ModelCrashed | Kind::Quarantined { .. } => {
            (StatusCode::BAD_GATEWAY, "model-crashed", "The model crashed on this request")
        }
        Kind::NotLoaded => (StatusCode::CONFLICT, "not-loaded", "The model could not be loaded"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "This can't be answered now"),
        Kind::DeadlineExceeded => {
            (StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", "The answer was not ready in time")
        }
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
    };
    Meaning { status, slug, title }
}

/// The members of a problem: RFC 9457 section 3.1, and three of our own.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [CellError]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a Condition>,
}

/// The answer to a request that failed. `instance` is the request's id;
/// `expose_model_errors` says whether the caller sees R's own words.
pub(crate) fn problem(failure: &Failure, instance: &str, expose_model_errors: bool) -> HttpResponse {
    let error = &failure.error;
    let Meaning { status, slug, title } = meaning(error.kind());
    let condition = match error.kind() {
        Kind::ModelFailed(condition) => Some(condition),
        _ => None,
    };
    let detail = match condition {
        Some(_) if !expose_model_errors => {
            "the model's code raised an error; the server's log has it under this request id"
        }
        _ => error.detail(),
    };
    let problem = Problem {
        r#type: format!("urn:rscore:problem:{slug}"),
        title,
        status: status.as_u16(),
        detail,
        instance,
        errors: error.cells().map(|cells| cells.listed.as_slice()),
        error_count: error.cells().map(|cells| cells.count),
        condition: condition.filter(|_| expose_model_errors),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = HttpResponse::build(status).content_type(PROBLEM_JSON).body(body);
    add_headers(&mut response, failure);
    response
}

fn add_headers(response: &mut HttpResponse, failure: &Failure) {
    let headers = response.headers_mut();
    match failure.error.kind() {
        Kind::MethodNotAllowed { allowed } => {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        Kind::Overloaded { retry_after, .. } | Kind::Quarantined { retry_after } => {
            headers.insert(header::RETRY_AFTER, whole_seconds(*retry_after));
        }
        Kind::Unavailable => {
            headers.insert(header::RETRY_AFTER, whole_seconds(UNAVAILABLE_RETRY_AFTER));
        }
        // RFC 9110 section 15.5.16: say what would have been taken.
        Kind::UnsupportedMediaType => {
            headers.insert(header::ACCEPT, HeaderValue::from_static(negotiate::SUPPORTED));
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding::SUPPORTED));
        }
        _ => {}
    }
    if let Some(challenge) = &failure.challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge.header_value());
    }
}

/// `Retry-After` counts whole seconds; less than one would mean "at once".
fn whole_seconds(duration: Duration) -> HeaderValue {
    let rounded_up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    HeaderValue::from(rounded_up.max(1))
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use serde_json::{Value, json};

    use super::*;
    use crate::error::{CellErrors, Overload};

    fn parts(failure: Failure, expose: bool) -> (StatusCode, header::HeaderMap, Value) {
        let (head, body) = problem(&failure, "id-1", expose).into_parts();
        let body = body.try_into_bytes().expect("a body in memory");
        (head.status(), head.headers().clone(), serde_json::from_slice(&body).expect("JSON"))
    }

    fn condition() -> Condition {
        Condition {
            class: vec!["simpleError".into(), "error".into(), "condition".into()],
            message: "secret cause".into(),
            call: Some("f(x)".into()),
        }
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let (status, headers, body) = parts(Error::malformed("line 3: not JSON").into(), true);
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(headers.get(header::CONTENT_TYPE).expect("a type"), PROBLEM_JSON);
        let expected = json!({
            "type": "urn:rscore:problem:malformed", "title": "The request is malformed", "status": 400,
            "detail": "line 3: not JSON", "instance": "id-1",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn misfits_are_listed_with_their_count() {
        let mut cells = CellErrors::default();
        for row in 0..25 {
            cells.push(|| CellError {
                input: None,
                row: Some(row),
                column: "crim".into(),
                expected: "a number".into(),
                got: "\"x\"".into(),
            });
        }
        let (status, _, body) = parts(Error::misfit(cells).into(), true);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["error_count"], 25);
        assert_eq!(body["errors"].as_array().expect("a list").len(), CellErrors::LISTED);
        let first = json!({"row": 0, "column": "crim", "expected": "a number", "got": "\"x\""});
        assert_eq!(body["errors"][0], first);
    }

    #[test]
    fn a_model_error_is_shown_only_when_allowed() {
        let failure = || Failure::from(Error::new(Kind::ModelFailed(condition()), "secret cause"));
        let (status, _, body) = parts(failure(), true);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body["detail"], "secret cause");
        assert_eq!(body["condition"]["class"][0], "simpleError");
        assert_eq!(body["condition"]["call"], "f(x)");
        let (_, _, body) = parts(failure(), false);
        assert_eq!(body["type"], "urn:rscore:problem:model-error");
        assert!(!body.to_string().contains("secret"), "{body}");
    }

    #[test]
    fn an_internal_cause_is_never_sent() {
        let (status, _, body) = parts(Error::internal("the cause: /etc/secret").into(), true);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("secret"), "{body}");
    }

    #[test]
    fn every_kind_has_its_status_and_headers() {
        let second = Duration::from_secs(1);
        let table = [
            (Kind::Malformed, 400, None),
            (Kind::Unauthenticated, 401, None),
            (Kind::Forbidden, 403, None),
            (Kind::NotFound, 404, None),
            (Kind::MethodNotAllowed { allowed: "POST" }, 405, Some((header::ALLOW, "POST"))),
            (Kind::NotAcceptable, 406, None),
            (Kind::BodyTimeout, 408, None),
            (Kind::TooLarge, 413, None),
            (Kind::UnsupportedMediaType, 415, Some((header::ACCEPT, negotiate::SUPPORTED))),
            (Kind::Unprocessable, 422, None),
            (Kind::Overloaded { what: Overload::Queue, retry_after: second }, 429, Some((header::RETRY_AFTER, "1"))),
            (
                Kind::Overloaded { what: Overload::Queue, retry_after: second.mul_f64(1.2) },
                429,
                Some((header::RETRY_AFTER, "2")),
            ),
            (Kind::ModelFailed(condition()), 500, None),
            (Kind::ModelCrashed, 502, None),
            (Kind::Quarantined { retry_after: second }, 502, Some((header::RETRY_AFTER, "1"))),
            (Kind::Unavailable, 503, Some((header::RETRY_AFTER, "1"))),
            (Kind::DeadlineExceeded, 504, None),
            (Kind::Internal, 500, None),
        ];
        for (kind, expected, extra) in table {
            let (status, headers, _) = parts(Error::new(kind.clone(), "detail").into(), true);
            assert_eq!(status.as_u16(), expected, "{kind:?}");
            if let Some((name, value)) = extra {
                assert_eq!(headers.get(&name).expect("the header"), value, "{kind:?}");
            }
        }
    }
}
