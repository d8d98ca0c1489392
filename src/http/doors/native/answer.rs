//! Answers of the native door: rows in the format that the caller asked for. JSON
//! has them in an object with the model's name and version, and warnings after
//! them; the other formats have no place for those.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::error::{Error, Result};
use crate::frame::format::Format;
use crate::frame::json::NonFinite;
use crate::frame::stream::{EncodeOptions, Encoder, encoder};
use crate::scoring::Scored;
use crate::scoring::catalog::Served;

/// Most warnings of one answer.
const WARNINGS: usize = 100;

/// An answer that is being written.
pub(in crate::http::doors) struct Answer {
    encoder: Box<dyn Encoder>,
    format: Format,
    name: Arc<str>,
    version: u32,
    unnamed: bool,
    has_begun: bool,
    warnings: Vec<String>,
}

impl Answer {
    /// An answer of that model; `unnamed` as in [`Scored`].
    pub(in crate::http::doors) fn new(served: &Served, format: Format, unnamed: bool, non_finite: NonFinite) -> Self {
        Self {
            encoder: encoder(format, EncodeOptions { unnamed, non_finite }),
            format,
            name: Arc::clone(&served.name),
            version: served.version,
            unnamed,
            has_begun: false,
            warnings: Vec::new(),
        }
    }

    /// Appends rows, and before the first what stands before them.
    pub(in crate::http::doors) fn add(&mut self, scored: &Scored, out: &mut Vec<u8>) -> Result<()> {
        if scored.unnamed != self.unnamed {
            return Err(Error::internal("the predictions are a vector for some rows and a table for others"));
        }
        self.warn(&scored.warnings);
        self.add_rows(&scored.batch, out)
    }

    fn add_rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            if self.format == Format::Json {
                out.extend_from_slice(b"{\"model\":");
                serde_json::to_writer(&mut *out, &*self.name).map_err(Error::internal)?;
                out.extend_from_slice(format!(",\"version\":{},\"predictions\":", self.version).as_bytes());
            }
            self.encoder.header(batch.schema_ref(), out)?;
        }
        self.encoder.encode(batch, out)
    }

    /// Adds warnings that were not there yet.
    pub(in crate::http::doors) fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            if self.warnings.len() < WARNINGS && !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
    }

    /// Appends what stands after the rows.
    pub(in crate::http::doors) fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.encoder.finish(out)?;
        if self.format == Format::Json {
            if !self.warnings.is_empty() {
                out.extend_from_slice(b",\"warnings\":");
                serde_json::to_writer(&mut *out, &self.warnings).map_err(Error::internal)?;
            }
            out.push(b'}');
        }
        Ok(())
    }
}

/// `Content-Type` of answers.
pub(in crate::http::doors) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv; charset=utf-8",
        _ => format.media_type(),
    }
}
