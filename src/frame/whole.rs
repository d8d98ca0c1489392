//! Bodies that are in memory as a whole, in any of the formats.

use std::sync::Arc;

use super::format::Format;
use super::json::{self, DecodeOptions, Decoded};
use super::schema::{InputSchemas, Inputs};
use super::stream::{Chunk, OnMisfit, StreamOptions, decoder, push_whole};
use super::table::too_many_rows;
use crate::error::{Error, Kind, Result};

/// Reads a body of `format`; all but JSON are for models with one input. One that
/// stands for more bytes than it has is given to `reserve` as so many before they are
/// made.
///
/// # Errors
/// Those of `reserve`.
/// Those of [`json::decode`] and of [`Decoder`](super::stream::Decoder), and
/// [`Kind::UnsupportedMediaType`] for a model with several inputs.
pub fn decode(
    format: Format,
    body: &[u8],
    schemas: &InputSchemas,
    options: DecodeOptions,
    max_record_bytes: usize,
    max_bytes: usize,
    reserve: &mut dyn FnMut(usize) -> Result<()>,
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
    reserve(decoder.stands_for())?;
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
    fn what_few_bytes_stand_for_is_reserved_before_it_is_made() {
        let values = Arc::new(arrow_array::Float64Array::from(vec![0.5; 100_000]));
        let batch = arrow_array::RecordBatch::try_from_iter([("x", values as _)]).expect("a batch");
        let mut encoder = super::super::stream::encoder(Format::Parquet, Default::default());
        let mut body = Vec::new();
        encoder.header(batch.schema_ref(), &mut body).expect("a header");
        encoder.encode(&batch, &mut body).expect("rows");
        encoder.finish(&mut body).expect("an end");
        assert!(body.len() < 10_000, "{} bytes", body.len());

        let schemas =
            InputSchemas::single(Schema { columns: vec![Column::new("x", ColumnType::Double)], ..Schema::default() });
        let options = DecodeOptions { max_rows: 1_000_000, non_finite_strings: false };
        let mut reserved = 0;
        let mut read = |room: usize| {
            decode(Format::Parquet, &body, &schemas, options, 100, 1 << 20, &mut |bytes| {
                reserved = bytes;
                if bytes > room { Err(Error::new(Kind::TooLarge, "no room")) } else { Ok(()) }
            })
        };
        assert_eq!(read(0).expect_err("no room").detail(), "no room");
        assert_eq!(read(100_000).expect("rows").inputs.as_single().map(|batch| batch.num_rows()), Some(100_000));
        assert_eq!(reserved, 100_000, "a byte for each value");
    }

    #[test]
    fn rows_beyond_the_limit_are_not_read() {
        let columns = vec![Column::new("x", ColumnType::Double)];
        let schemas = InputSchemas::single(Schema { columns, ..Schema::default() });
        let read = |format: Format, body: &str| {
            let options = DecodeOptions { max_rows: 1000, non_finite_strings: false };
            decode(format, body.as_bytes(), &schemas, options, 100, 1 << 20, &mut |_| Ok(()))
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
