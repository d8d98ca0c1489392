//! Which formats a request speaks: the media type and coding of its body, and
//! what it accepts in return (RFC 9110 sections 8 and 12).

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::mime::Mime;

use super::coding::{self, Coding};
use crate::error::{Error, Kind, Result};
use crate::frame::format::Format;

/// The media types of the native door, as an `Accept` header says it.
pub(crate) const SUPPORTED: &str = "application/json, text/csv, application/x-ndjson, \
                                    application/vnd.apache.arrow.stream, application/vnd.apache.parquet";

/// The format of the body. Text is in UTF-8. Several inputs have names, which only
/// JSON has a place for.
///
/// # Errors
/// [`Kind::UnsupportedMediaType`] that says what is supported.
pub(crate) fn body_format(headers: &HeaderMap, several_inputs: bool) -> Result<Format> {
    let unsupported = |sent: &str| {
        let detail = format!("{sent}; send the body as one of {SUPPORTED}, and text in UTF-8");
        Error::new(Kind::UnsupportedMediaType, detail)
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("the request has no Content-Type"));
    };
    let text = value.to_str().unwrap_or("");
    let Ok(mime) = text.parse::<Mime>() else {
        return Err(unsupported("the Content-Type can't be read"));
    };
    let Some(format) = Format::of_media_type(mime.essence_str()) else {
        return Err(unsupported(&format!("the Content-Type is '{}'", mime.essence_str())));
    };
    match mime.get_param("charset") {
        Some(charset) if format.is_text() && charset != "utf-8" => {
            return Err(unsupported(&format!("the charset is '{charset}'")));
        }
        _ => {}
    }
    if several_inputs && format != Format::Json {
        let json = Format::Json.media_type();
        let detail =
            format!("the model takes several inputs, which only {json} has names for; send the body as {json}");
        return Err(Error::new(Kind::UnsupportedMediaType, detail));
    }
    Ok(format)
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

/// The format of the answer: of those that the caller takes the one that it likes
/// best; of equals the one that it names first, and JSON when it names none.
///
/// # Errors
/// [`Kind::NotAcceptable`] that says what can be produced.
pub(crate) fn answer_format(headers: &HeaderMap) -> Result<Format> {
    let ranges = quality_list(headers, header::ACCEPT);
    if ranges.is_empty() {
        return Ok(Format::Json);
    }
    let liked = Format::ALL.into_iter().filter_map(|format| Some((format, liking(format, &ranges)?)));
    // The first of equals: those that a range covers alike are in our order.
    let best = liked.reduce(|best, other| if other.1.is_more_than(&best.1) { other } else { best });
    best.map(|(format, _)| format).ok_or_else(|| {
        Error::new(Kind::NotAcceptable, format!("the Accept header rules out all that can be given: {SUPPORTED}"))
    })
}

/// How much a caller likes a format.
#[derive(Debug, Clone, Copy)]
struct Liking {
    quality: f32,
    /// How closely the range that says so names it.
    specific: u8,
    /// Where in the list that range is.
    position: usize,
}

impl Liking {
    fn is_more_than(&self, other: &Self) -> bool {
        let key = |liking: &Self| (liking.quality, liking.specific);
        key(self) > key(other) || (key(self) == key(other) && self.position < other.position)
    }
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

/// What the most specific matching range says of a format; parameters other than
/// `q`, `charset=utf-8` and `header=present` ask for something that it is not.
fn liking(format: Format, ranges: &[(String, f32)]) -> Option<Liking> {
    let media_type = format.media_type();
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best: Option<Liking> = None;
    for (position, (range, quality)) in ranges.iter().enumerate() {
        let range = range.replace([' ', '"'], "");
        let mut parts = range.split(';');
        let specific = match parts.next() {
            Some(named) if named == media_type => 3,
            Some(named) if named.strip_suffix("/*") == Some(kind) => 2,
            Some("*/*") => 1,
            _ => continue,
        };
        let is_ours = |parameter: &str| match parameter {
            "charset=utf-8" => format.is_text(),
            "header=present" => format == Format::Csv,
            _ => false,
        };
        if !parts.all(is_ours) {
            continue;
        }
        let this = Liking { quality: *quality, specific, position };
        if best.is_none_or(|best| (specific, *quality) > (best.specific, best.quality)) {
            best = Some(this);
        }
    }
    best.filter(|liking| liking.quality > 0.0)
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
    fn the_body_has_a_format_that_is_known() {
        for (good, format) in [
            ("application/json", Format::Json),
            ("Application/JSON", Format::Json),
            ("application/json;charset=\"UTF-8\"", Format::Json),
            ("text/csv; header=present; charset=utf-8", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("application/vnd.apache.arrow.stream", Format::Arrow),
            ("application/vnd.apache.parquet", Format::Parquet),
        ] {
            assert_eq!(body_format(&headers(header::CONTENT_TYPE, good), false).expect(good), format);
        }
        for bad in ["text/plain", "application/json; charset=latin1", "text/csv;charset=utf-16", "json", ""] {
            let error = body_format(&headers(header::CONTENT_TYPE, bad), false).expect_err(bad);
            assert_eq!(*error.kind(), Kind::UnsupportedMediaType);
            assert!(error.detail().contains(SUPPORTED), "{}", error.detail());
        }
        body_format(&HeaderMap::new(), false).expect_err("no type is no format");
        let csv = headers(header::CONTENT_TYPE, "text/csv");
        let error = body_format(&csv, true).expect_err("several inputs");
        assert!(error.detail().contains("several inputs, which only application/json"), "{}", error.detail());
        body_format(&headers(header::CONTENT_TYPE, "application/json"), true).expect("several inputs");
    }

    #[test]
    fn supported_is_all_there_is() {
        let all: Vec<_> = Format::ALL.iter().map(|format| format.media_type()).collect();
        assert_eq!(SUPPORTED, all.join(", "));
    }

    #[test]
    fn the_answer_is_what_the_caller_likes_best() {
        for (accept, format) in [
            ("application/json", Format::Json),
            ("*/*", Format::Json),
            ("application/*", Format::Json),
            ("text/html, application/json;q=0.1", Format::Json),
            ("text/html;q=0.9, */*;q=0.1", Format::Json),
            ("APPLICATION/JSON; charset=utf-8", Format::Json),
            ("application/*;q=0, application/json", Format::Json),
            ("", Format::Json),
            ("text/*", Format::Csv),
            ("text/csv", Format::Csv),
            ("text/csv; header=present, */*", Format::Csv),
            ("*/*, text/csv", Format::Csv),
            ("text/csv;q=0.5, */*", Format::Json),
            ("application/x-ndjson, application/json", Format::Ndjson),
            ("application/json, application/x-ndjson", Format::Json),
            ("application/json;q=0, */*", Format::Csv),
            ("application/vnd.apache.parquet, */*;q=0.1", Format::Parquet),
            ("application/vnd.apache.arrow.stream", Format::Arrow),
        ] {
            assert_eq!(answer_format(&headers(header::ACCEPT, accept)).expect(accept), format, "{accept}");
        }
        for bad in [
            "text/html",
            "application/json;q=0",
            "application/json;q=high",
            "application/*;q=0, text/*;q=0, */*;q=1",
            "application/json;profile=x",
            "application/vnd.apache.parquet;charset=utf-8",
        ] {
            let error = answer_format(&headers(header::ACCEPT, bad)).expect_err(bad);
            assert_eq!(*error.kind(), Kind::NotAcceptable);
            assert!(error.detail().contains(SUPPORTED));
        }
        assert_eq!(answer_format(&HeaderMap::new()).expect("no wish is any"), Format::Json);
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
