//! Bodies that are in memory as a whole, in any of the formats.

use std::sync::Arc;

use super::findings::LimitPassed;
use super::format::Format;
use super::json::{self, DecodeOptions, Decoded};
use super::schema::{InputSchemas, Inputs};
use super::stream::{Chunk, OnMisfit, StreamOptions, decoder};
use super::table::too_many_rows;
use crate::error::{Error, Kind, Result};

/// Reads a body of `format`; all but JSON are for models with one input.
///
/// # Errors
/// Those of [`json::decode`] and of [`Decoder`](super::stream::Decoder), and
/// [`Kind::UnsupportedMediaType`] for a model with several inputs.
pub fn decode(
    format: Format,
    body: &[u8],
    schemas: &InputSchemas,
    options: DecodeOptions,
    max_record_bytes: usize,
    max_bytes: usize,
) -> Result<Decoded> {
    let stream = StreamOptions {
        max_record_bytes,
        max_message_bytes: max_bytes,
        chunk_bytes: usize::MAX,
        on_misfit: OnMisfit::Fail,
        non_finite_strings: options.non_finite_strings,
    };
    if format == Format::Json {
        return json::decode(body, schemas, options);
    }
    let schema = schemas.as_single().ok_or_else(|| {
        Error::new(
            Kind::UnsupportedMediaType,
            format!("the model takes several inputs, for which {format} has no place"),
        )
    })?;
    let Some(mut decoder) = decoder(format, Arc::new(schema.clone()), stream) else {
        return Err(Error::internal(format!("no decoder of {format}")));
    };
    decoder.push(body)?;
    decoder.finish()?;
    let Some(Chunk { batch, warnings, .. }) = decoder.next_chunk(options.max_rows)? else {
        return Err(Error::internal(format!("a decoder of {format} without a chunk")));
    };
    if decoder.next_chunk(1)?.is_some() {
        let LimitPassed(detail) = too_many_rows(options.max_rows);
        return Err(Error::new(Kind::TooLarge, detail));
    }
    Ok(Decoded { inputs: Inputs::single(batch), warnings })
}
