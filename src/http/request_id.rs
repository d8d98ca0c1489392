//! The name of a request in answers and logs, its own or the caller's, and the
//! trace that it belongs to.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::telemetry::context::Traceparent;

/// `X-Request-Id`, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const LONGEST: usize = 128;

/// The caller's id when it is 1 to 128 visible ASCII characters, else a new
/// UUID of version 7, which sorts by time.
pub(crate) fn request_id(headers: &HeaderMap) -> Arc<str> {
    match headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()) {
        Some(id) if (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => id.into(),
        _ => Uuid::now_v7().to_string().into(),
    }
}

/// The id as a header value.
pub(crate) fn header_value(id: &str) -> HeaderValue {
    // Ids are visible ASCII by construction; the fallback only spares a panic.
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

/// The `traceparent` of a request; none when it is not valid, or there are several.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(TRACEPARENT);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    Traceparent::parse(value.to_str().ok()?)
}

/// The `tracestate` that goes with it. There may be several, which is as if they were
/// one; a first that is whole says enough.
pub(crate) fn tracestate(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACESTATE)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        headers
    }

    #[test]
    fn a_good_id_of_the_caller_is_kept() {
        for id in ["a", "0b6c-7!~", &"x".repeat(128)] {
            assert_eq!(&*request_id(&headers(X_REQUEST_ID, id)), id);
        }
    }

    #[test]
    fn a_bad_id_is_replaced_by_a_new_uuid() {
        for id in ["", "two words", "caf\u{e9}", &"x".repeat(129)] {
            let new = request_id(&headers(X_REQUEST_ID, id));
            assert_eq!(Uuid::parse_str(&new).expect("a UUID").get_version_num(), 7, "for '{id}'");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn one_traceparent_counts_and_two_do_not() {
        let one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = headers(TRACEPARENT, one);
        assert_eq!(traceparent(&headers).expect("valid").to_string(), one);
        headers.append(TRACEPARENT, HeaderValue::from_static(one));
        assert_eq!(traceparent(&headers), None);
        assert_eq!(traceparent(&HeaderMap::new()), None);
    }
}
