//! Which formats a request speaks: the media type and coding of its body, and
//! what it accepts in return (RFC 9110 sections 8 and 12).

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::mime::Mime;

use super::coding::{self, Coding};
use crate::error::{Error, Kind, Result};

/// The media type of the native door.
pub(crate) const JSON: &str = "application/json";

/// Checks that the body is JSON in UTF-8.
///
/// # Errors
/// [`Kind::UnsupportedMediaType`] that says what is supported.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<()> {
    let unsupported = |sent: &str| {
        Error::new(
            Kind::UnsupportedMediaType,
            format!("{sent}; send the body as 'Content-Type: {JSON}', which is the one supported, in UTF-8"),
        )
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("the request has no Content-Type"));
    };
    let text = value.to_str().unwrap_or("");
    let Ok(mime) = text.parse::<Mime>() else {
        return Err(unsupported("the Content-Type can't be read"));
    };
    if mime.essence_str() != JSON {
        return Err(unsupported(&format!("the Content-Type is '{}'", mime.essence_str())));
    }
    match mime.get_param("charset") {
        Some(charset) if charset != "utf-8" => Err(unsupported(&format!("the charset is '{charset}'"))),
        _ => Ok(()),
    }
}

/// How the body is compressed.
///
/// # Errors
/// [`Kind::UnsupportedMediaType`] for an unknown coding, and for several on
/// top of each other.
pub(crate) fn content_coding(headers: &HeaderMap) -> Result<Coding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING);
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        return Ok(Coding::Identity);
    };
    let name = value.to_str().unwrap_or("").trim();
    match Coding::named(name) {
        Some(coding) if second.is_none() => Ok(coding),
        _ => Err(Error::new(
            Kind::UnsupportedMediaType,
            format!("the Content-Encoding is not one of {}", coding::SUPPORTED),
        )),
    }
}

/// Checks that the caller takes JSON in return.
///
/// # Errors
/// [`Kind::NotAcceptable`] that says what can be produced.
pub(crate) fn require_json_accepted(headers: &HeaderMap) -> Result<()> {
    let ranges = quality_list(headers, header::ACCEPT);
    if ranges.is_empty() || quality_of_json(&ranges) > 0.0 {
        return Ok(());
    }
    Err(Error::new(Kind::NotAcceptable, format!("the answer is {JSON}, which the Accept header rules out")))
}

/// The coding for the answer: of those that the caller named, the one that it
/// likes best, zstd before gzip.
pub(crate) fn accepted_coding(headers: &HeaderMap) -> Coding {
    let offers = quality_list(headers, header::ACCEPT_ENCODING);
    let quality = |coding: Coding| {
        let named = |name: &str| offers.iter().find(|(offer, _)| offer == name).map(|(_, quality)| *quality);
        named(coding.name()).or_else(|| named("*")).unwrap_or(0.0)
    };
    let (gzip, zstd) = (quality(Coding::Gzip), quality(Coding::Zstd));
    match () {
        () if zstd > 0.0 && zstd >= gzip => Coding::Zstd,
        () if gzip > 0.0 => Coding::Gzip,
        () => Coding::Identity,
    }
}

/// The quality that the most specific matching range gives to JSON; parameters
/// other than `q` and `charset=utf-8` ask for something that JSON is not.
fn quality_of_json(ranges: &[(String, f32)]) -> f32 {
    let mut best = (0, 0.0);
    for (range, quality) in ranges {
        let specific = match range.replace(' ', "").as_str() {
            "application/json" | "application/json;charset=utf-8" => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if specific > best.0 || (specific == best.0 && *quality > best.1) {
            best = (specific, *quality);
        }
    }
    best.1
}

/// The items of a list such as `a;x=1;q=0.5, b` in lower case, without their
/// weight, and the weight, which is 1 where none is given (RFC 9110 section
/// 12.4.2). An item with a weight that can't be read counts as unwanted.
fn quality_list(headers: &HeaderMap, name: HeaderName) -> Vec<(String, f32)> {
    let lists = headers.get_all(name).filter_map(|value| value.to_str().ok());
    let items = lists.flat_map(|list| list.split(',')).map(str::trim).filter(|item| !item.is_empty());
    items.map(weighted).collect()
}

fn weighted(item: &str) -> (String, f32) {
    let mut quality = 1.0;
    let mut kept = Vec::new();
    for part in item.split(';').map(str::trim) {
        match part.split_once('=') {
            Some((name, weight)) if name.eq_ignore_ascii_case("q") => {
                let weight = weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
                quality = weight.unwrap_or(0.0);
            }
            _ => kept.push(part.to_ascii_lowercase()),
        }
    }
    (kept.join(";"), quality)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        headers
    }

    #[test]
    fn the_body_is_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            require_json(&headers(header::CONTENT_TYPE, good)).expect(good);
        }
        for bad in ["text/csv", "application/json; charset=latin1", "application/jsonl", "json", ""] {
            let error = require_json(&headers(header::CONTENT_TYPE, bad)).expect_err(bad);
            assert_eq!(*error.kind(), Kind::UnsupportedMediaType);
            assert!(error.detail().contains(JSON), "{}", error.detail());
        }
        require_json(&HeaderMap::new()).expect_err("no type is no JSON");
    }

    #[test]
    fn json_is_given_to_those_who_take_it() {
        for good in [
            "application/json",
            "*/*",
            "application/*",
            "text/html, application/json;q=0.1",
            "text/html;q=0.9, */*;q=0.1",
            "APPLICATION/JSON; charset=utf-8",
            "application/*;q=0, application/json",
            "",
        ] {
            require_json_accepted(&headers(header::ACCEPT, good)).expect(good);
        }
        for bad in [
            "text/csv",
            "application/json;q=0",
            "application/json;q=0, */*",
            "application/json;q=high",
            "application/*;q=0, */*;q=1",
            "text/*",
            "application/json;profile=x",
        ] {
            let error = require_json_accepted(&headers(header::ACCEPT, bad)).expect_err(bad);
            assert_eq!(*error.kind(), Kind::NotAcceptable);
        }
        require_json_accepted(&HeaderMap::new()).expect("no wish is any");
    }

    #[test]
    fn codings_of_the_body() {
        for (value, coding) in [("gzip", Coding::Gzip), ("ZSTD", Coding::Zstd), ("identity", Coding::Identity)] {
            assert_eq!(content_coding(&headers(header::CONTENT_ENCODING, value)).expect(value), coding);
        }
        assert_eq!(content_coding(&HeaderMap::new()).expect("none"), Coding::Identity);
        for bad in ["br", "gzip, gzip", ""] {
            content_coding(&headers(header::CONTENT_ENCODING, bad)).expect_err(bad);
        }
    }

    #[test]
    fn codings_of_the_answer() {
        for (value, coding) in [
            ("gzip, deflate", Coding::Gzip),
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip;q=1, zstd;q=0.5", Coding::Gzip),
            ("zstd;q=0, gzip;q=0", Coding::Identity),
            ("*", Coding::Zstd),
            ("*;q=0", Coding::Identity),
            ("br", Coding::Identity),
            ("", Coding::Identity),
        ] {
            assert_eq!(accepted_coding(&headers(header::ACCEPT_ENCODING, value)), coding, "for '{value}'");
        }
    }
}
