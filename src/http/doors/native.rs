//! rscore's own convention: JSON in, `{"model","version","predictions"}` out.

use actix_web::HttpResponse;

use super::Door;
use crate::error::{Error, Result};
use crate::frame::json::{self, DecodeOptions, Decoded, NonFinite};
use crate::frame::schema::InputSchemas;
use crate::http::layers::Exchange;
use crate::http::negotiate;
use crate::http::respond::Failure;
use crate::scoring::Scored;
use crate::scoring::catalog::Served;

/// Label of the metrics.
pub(crate) const DOOR: &str = "native";

/// Answers a prediction request.
pub(crate) async fn predict(exchange: &mut Exchange) -> Result<HttpResponse, Failure> {
    let door = Native { non_finite: non_finite(exchange.request.query_string())? };
    super::score(exchange, door).await
}

#[derive(Debug, Clone, Copy)]
struct Native {
    non_finite: NonFinite,
}

impl Door for Native {
    const MEDIA_TYPE: &'static str = negotiate::JSON;

    fn decode(self, body: &[u8], schemas: &InputSchemas, max_rows: usize) -> Result<Decoded> {
        json::decode(
            body,
            schemas,
            DecodeOptions { max_rows, non_finite_strings: self.non_finite == NonFinite::String },
        )
    }

    fn encode(self, served: &Served, scored: &Scored, warnings: &[String]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(64 + 20 * scored.batch.num_rows() * scored.batch.num_columns());
        out.extend_from_slice(b"{\"model\":");
        serde_json::to_writer(&mut out, &*served.name).map_err(Error::internal)?;
        out.extend_from_slice(format!(",\"version\":{},\"predictions\":", served.version).as_bytes());
        json::encode_predictions(&scored.batch, scored.unnamed, self.non_finite, &mut out)?;
        if !warnings.is_empty() {
            out.extend_from_slice(b",\"warnings\":");
            serde_json::to_writer(&mut out, warnings).map_err(Error::internal)?;
        }
        out.push(b'}');
        Ok(out)
    }
}

/// Reads the query: `non_finite=string` or `non_finite=null`, once, and nothing
/// else, so that a mistyped name is not taken for consent.
fn non_finite(query: &str) -> Result<NonFinite> {
    let mut chosen = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let choice = match pair.split_once('=').unwrap_or((pair, "")) {
            ("non_finite", "string") => NonFinite::String,
            ("non_finite", "null") => NonFinite::Null,
            ("non_finite", _) => {
                return Err(Error::malformed("the query parameter non_finite is 'string' or 'null'"));
            }
            _ => return Err(Error::malformed("the only query parameter is non_finite=string or non_finite=null")),
        };
        if chosen.replace(choice).is_some() {
            return Err(Error::malformed("the query parameter non_finite is there twice"));
        }
    }
    Ok(chosen.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_has_one_parameter() {
        for (query, choice) in [
            ("", NonFinite::Null),
            ("non_finite=null", NonFinite::Null),
            ("non_finite=string", NonFinite::String),
            ("&non_finite=string&", NonFinite::String),
        ] {
            assert_eq!(non_finite(query).expect(query), choice);
        }
        for bad in [
            "non_finite",
            "non_finite=",
            "non_finite=nan",
            "nonfinite=null",
            "a=1",
            "non_finite=null&non_finite=string",
        ] {
            non_finite(bad).expect_err(bad);
        }
    }
}
