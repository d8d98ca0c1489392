//! rscore's own convention: rows in any format, predictions in any format.

mod answer;

use actix_web::HttpResponse;
use actix_web::http::header::HeaderMap;

pub(super) use self::answer::{Answer, content_type};
use super::{Door, Limits};
use crate::error::{Error, Result};
use crate::frame::format::Format;
use crate::frame::json::{DecodeOptions, Decoded, NonFinite};
use crate::frame::schema::InputSchemas;
use crate::frame::whole;
use crate::http::admission::Permit;
use crate::http::layers::Exchange;
use crate::http::negotiate;
use crate::http::respond::Failure;
use crate::scoring::Scored;
use crate::scoring::catalog::Served;

/// Label of the metrics.
pub(crate) const DOOR: &str = "native";

/// Answers a prediction request.
pub(crate) async fn predict(exchange: &mut Exchange) -> Result<HttpResponse, Failure> {
    let non_finite = non_finite(exchange.request.query_string())?;
    super::score(exchange, Native { non_finite, body: Format::Json, answer: Format::Json }).await
}

/// What one request speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Native {
    pub(crate) non_finite: NonFinite,
    pub(crate) body: Format,
    pub(crate) answer: Format,
}

impl Door for Native {
    fn negotiate(self, headers: &HeaderMap, schemas: &InputSchemas) -> Result<Self> {
        let body = negotiate::body_format(headers, schemas.as_single().is_none())?;
        Ok(Self { body, answer: negotiate::answer_format(headers)?, ..self })
    }

    fn content_type(self) -> &'static str {
        content_type(self.answer)
    }

    fn streaming(self) -> Option<Self> {
        matches!(self.body, Format::Csv | Format::Ndjson | Format::Arrow).then_some(self)
    }

    fn is_dense(self) -> bool {
        matches!(self.body, Format::Arrow | Format::Parquet)
    }

    fn decode(self, body: &[u8], schemas: &InputSchemas, limits: Limits, permit: &mut Permit) -> Result<Decoded> {
        let non_finite_strings = self.non_finite == NonFinite::String;
        let options = DecodeOptions { max_rows: limits.rows, non_finite_strings };
        let mut reserve = |bytes| permit.reserve(bytes);
        whole::decode(self.body, body, schemas, options, limits.record_bytes, limits.bytes, &mut reserve)
    }

    fn encode(self, served: &Served, scored: &Scored, warnings: &[String]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(64 + 20 * scored.batch.num_rows() * scored.batch.num_columns());
        let mut answer = Answer::new(served, self.answer, scored.unnamed, self.non_finite);
        answer.warn(warnings);
        answer.add(scored, &mut out)?;
        answer.finish(&mut out)?;
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
