//! Speaking to the collector: OTLP over HTTP, as protobuf, with the client that the
//! object stores are spoken to with. Certificates are always checked.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;

use super::headers;
use crate::config::Problem;
use crate::config::settings::TraceSettings;

/// Where a collector takes spans, under its URL.
const PATH: &str = "/v1/traces";

/// Why the collector was not reached, the last time that it was not. The exporter
/// itself tells no more than that there was an error of the network.
static UNREACHED: Mutex<Option<String>> = Mutex::new(None);

/// What sends spans to a collector.
pub(super) fn exporter(endpoint: &str, settings: &TraceSettings) -> Result<SpanExporter, Problem> {
    let headers = match &settings.headers_file {
        Some(path) => headers::read(path).map_err(|message| Problem::rule("traces.headers_file", message))?,
        None => Default::default(),
    };
    // A redirect would carry the headers elsewhere.
    let mut client = Client::builder().timeout(settings.timeout).redirect(Policy::none());
    if !endpoint.starts_with("https:") {
        // A proxy could read them, and a collector beside the server needs none.
        client = client.no_proxy();
    }
    let client =
        client.build().map_err(|error| Problem::rule("traces.endpoint", format!("no client can be made: {error}")))?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(Telling(client))
        .with_protocol(Protocol::HttpBinary)
        .with_compression(Compression::Gzip)
        .with_endpoint(url(endpoint))
        .with_timeout(settings.timeout)
        .with_headers(headers)
        .build()
        .map_err(|error| Problem::rule("traces.endpoint", error.to_string()))
}

/// Why the collector was not reached, if that was asked for the first time since.
pub(super) fn take_unreached() -> Option<String> {
    UNREACHED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The URL that spans are sent to; one that names the path already is left as it is.
fn url(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") }
}

/// A client that notes why it failed.
#[derive(Debug)]
struct Telling(Client);

#[async_trait]
impl HttpClient for Telling {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.send_bytes(request).await.inspect_err(|error| {
            let reason = innermost(&**error).to_string();
            *UNREACHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        })
    }
}

/// What began it all.
fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_once() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
            ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/traces"),
        ] {
            assert_eq!(url(endpoint), expected);
        }
    }
}
