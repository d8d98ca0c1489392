//! Bodies that are in memory as a whole, in any of the formats.

use std::sync::Arc;

use super::format::Format;
use super::json::{self, DecodeOptions, Decoded};
use super::schema::{InputSchemas, Inputs};
use super::stream::{Chunk, OnMisfit, StreamOptions, decoder, push_whole};
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
    let too_many = || Error::from(too_many_rows(options.max_rows));
    if !push_whole(&mut *decoder, body, options.max_rows)? {
        return Err(too_many());
    }
    let Some(Chunk { batch, warnings, .. }) = decoder.next_chunk(options.max_rows)? else {
        return Err(Error::internal(format!("a decoder of {format} without a chunk")));
    };
    if decoder.next_chunk(1)?.is_some() {
        return Err(too_many());
    }
    Ok(Decoded { inputs: Inputs::single(batch), warnings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::schema::{Column, ColumnType, Schema};

    #[test]
    fn rows_beyond_the_limit_are_not_read() {
        let columns = vec![Column::new("x", ColumnType::Double)];
        let schemas = InputSchemas::single(Schema { columns, ..Schema::default() });
        let read = |format: Format, body: &str| {
            let options = DecodeOptions { max_rows: 1000, non_finite_strings: false };
            decode(format, body.as_bytes(), &schemas, options, 100, 1 << 20)
        };
        let too_long = "1".repeat(200);
        for (format, head, row) in [(Format::Csv, "x\n", "1\n"), (Format::Ndjson, "", "{\"x\":1}\n")] {
            assert!(read(format, &format!("{head}{}", row.repeat(1000))).is_ok());
            let body = format!("{head}{}{too_long}\n", row.repeat(100_000));
            let error = read(format, &body).expect_err("too many rows");
            assert_eq!((error.kind(), error.detail()), (&Kind::TooLarge, "more than 1000 rows; send them in parts"));
        }
    }
}
