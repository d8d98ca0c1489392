//! The name of a request in answers and logs, its own or the caller's, and the
//! trace that it belongs to.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// `X-Request-Id`, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
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

/// The trace id of a W3C `traceparent` header: `version-traceid-parentid-flags`
/// in lower-case hexadecimal of 2, 32, 16 and 2 digits, where version `ff` and
/// ids of zeros are invalid and versions above `00` may carry more fields.
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(TRACEPARENT);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let mut fields = value.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let hexadecimal = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let named = |text: &str| text.bytes().any(|byte| byte != b'0');
    let valid = hexadecimal(version, 2)
        && version != "ff"
        && hexadecimal(trace, 32)
        && named(trace)
        && hexadecimal(parent, 16)
        && named(parent)
        && hexadecimal(flags, 2)
        && (version != "00" || fields.next().is_none());
    valid.then(|| trace.into())
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
    fn the_trace_id_of_a_valid_traceparent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for good in [format!("00-{trace}-00f067aa0ba902b7-01"), format!("01-{trace}-00f067aa0ba902b7-01-more")] {
            assert_eq!(trace_id(&headers(TRACEPARENT, &good)).as_deref(), Some(trace));
        }
        for bad in [
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            "00-1-2-3".to_owned(),
            String::new(),
        ] {
            assert_eq!(trace_id(&headers(TRACEPARENT, &bad)), None, "for '{bad}'");
        }
    }
}
