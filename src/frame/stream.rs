//! Rows that come piece by piece: decoders that take bytes as they arrive and
//! give chunks of typed rows, and encoders that write them, so that neither a
//! request nor a file has to fit into memory.

pub(in crate::frame) mod progress;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;
use bytes::Bytes;

use super::arrow::{ArrowDecoder, ArrowEncoder};
use super::csv::{CsvDecoder, CsvEncoder};
use super::format::Format;
use super::json::{JsonArrayEncoder, LinesDecoder, LinesEncoder, NonFinite};
use super::parquet::{ParquetDecoder, ParquetEncoder};
use super::schema::Schema;
use crate::error::{Error, Kind, Result};

/// How a stream is read.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// Longest record, that is, a row of CSV or NDJSON with its line end, in bytes.
    pub max_record_bytes: usize,
    /// Longest message of an Arrow stream, and most bytes that a Parquet file may
    /// have and inflate to.
    pub max_message_bytes: usize,
    /// Bytes of complete rows from which on a chunk is full, however few they are.
    pub chunk_bytes: usize,
    /// What happens to a row that doesn't fit.
    pub on_misfit: OnMisfit,
    /// Accept the strings `NaN`, `Infinity` and `-Infinity` in double columns of
    /// NDJSON.
    pub non_finite_strings: bool,
}

/// What happens to a row that doesn't fit the schema, or can't be read as a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMisfit {
    /// The stream fails with it.
    Fail,
    /// The row is set aside with its bytes, and the others go on. Misfits of a
    /// whole column, such as an unknown one, still fail the stream.
    Reject,
}

/// Rows of a stream, one after the other.
#[derive(Debug)]
pub struct Chunk {
    /// The rows that fit, columns in the schema's order.
    pub batch: RecordBatch,
    /// Those that don't, in order; empty with [`OnMisfit::Fail`].
    pub rejected: Vec<RejectedRow>,
    /// For example columns that were ignored.
    pub warnings: Vec<String>,
}

/// A row that was set aside.
#[derive(Debug)]
pub struct RejectedRow {
    /// Its number in the stream, counted from 0.
    pub row: u64,
    /// Its bytes as they came, without the line end; empty where a row has no
    /// bytes of its own, as in Arrow and Parquet.
    pub raw: Bytes,
    /// Why: [`Kind::Unprocessable`] with its misfits, or [`Kind::Malformed`].
    pub error: Error,
}

/// Reads rows from bytes that come in pieces of any size. How the bytes are cut
/// makes no difference to the chunks.
///
/// Push, take chunks until there is none, and go on; after the last byte finish
/// and take the remaining chunks. An error is final.
pub trait Decoder: Send {
    /// Takes more bytes; pieces of up to a megabyte or so keep the memory small.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when they are not what the format says,
    /// [`Kind::TooLarge`] when a record is too long, and [`Kind::Unprocessable`]
    /// when the columns don't fit.
    fn push(&mut self, bytes: &[u8]) -> Result<()>;

    /// There are no more bytes.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when the stream ends in the middle.
    fn finish(&mut self) -> Result<()>;

    /// The next rows, at most `max_rows`: when so many are complete, or
    /// [`StreamOptions::chunk_bytes`] of them, or what is left at the end. A
    /// stream without rows gives one chunk without rows. `None` means that bytes
    /// are missing, or after [`Decoder::finish`] that all was given.
    ///
    /// # Errors
    /// [`Kind::Unprocessable`] with the misfits of the chunk, unless rows are
    /// rejected, and the errors of [`Decoder::push`].
    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>>;

    /// Rows that are complete and were not taken yet, as far as they are known before
    /// they are asked for.
    fn complete_rows(&self) -> usize;

    /// Bytes that are held because their rows were not taken yet.
    fn buffered(&self) -> usize;

    /// Bytes of a body that stands for as much as what was read, if that is known to be
    /// more than was read.
    fn stands_for(&self) -> usize {
        0
    }
}

/// Writes rows as bytes.
pub trait Encoder: Send {
    /// Appends what stands before the rows, once and first.
    ///
    /// # Errors
    /// [`Kind::Internal`] for columns that the format can't have.
    fn header(&mut self, schema: &Arc<ArrowSchema>, out: &mut Vec<u8>) -> Result<()>;

    /// Appends rows. The columns are those of the header.
    ///
    /// # Errors
    /// [`Kind::Internal`] for columns that are not those of the header, or have a
    /// type that no prediction has.
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;

    /// Appends what stands after the rows, once and last.
    ///
    /// # Errors
    /// As for [`Encoder::encode`].
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

/// How rows are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncodeOptions {
    /// Write a single column as bare values where the format can (JSON, NDJSON).
    pub unnamed: bool,
    /// How JSON and NDJSON write NaN and the infinities.
    pub non_finite: NonFinite,
}

/// A decoder of `format` for rows of `schema`; `None` for JSON, which does not
/// come in pieces. Parquet is held until its last byte is there.
pub fn decoder(format: Format, schema: Arc<Schema>, options: StreamOptions) -> Option<Box<dyn Decoder>> {
    Some(match format {
        Format::Json => return None,
        Format::Csv => Box::new(CsvDecoder::new(schema, options)),
        Format::Ndjson => Box::new(LinesDecoder::new(schema, options)),
        Format::Arrow => Box::new(ArrowDecoder::new(schema, options)),
        Format::Parquet => Box::new(ParquetDecoder::new(schema, options)),
    })
}

/// An encoder of `format`.
pub fn encoder(format: Format, options: EncodeOptions) -> Box<dyn Encoder> {
    match format {
        Format::Json => Box::new(JsonArrayEncoder::new(options)),
        Format::Ndjson => Box::new(LinesEncoder::new(options)),
        Format::Csv => Box::new(CsvEncoder::new()),
        Format::Arrow => Box::new(ArrowEncoder::new()),
        Format::Parquet => Box::new(ParquetEncoder::new()),
    }
}

/// Bytes that are read between two looks at the number of rows.
const PIECE: usize = 64 * 1024;

/// Gives a decoder a whole body, unless it has more than `max_rows` rows: that is found
/// out before all of it is taken apart, as far as the format tells. The value is whether
/// there were no more.
///
/// # Errors
/// Those of the decoder.
pub fn push_whole(decoder: &mut dyn Decoder, body: &[u8], max_rows: usize) -> Result<bool> {
    for piece in body.chunks(PIECE) {
        decoder.push(piece)?;
        if decoder.complete_rows() > max_rows {
            return Ok(false);
        }
    }
    decoder.finish()?;
    Ok(true)
}

/// Whether rows that follow others have their columns, in their order: else values
/// would stand under the names of others.
///
/// # Errors
/// [`Kind::Internal`] when they have not.
pub(super) fn check_columns(batch: &RecordBatch, header: &ArrowSchema) -> Result<()> {
    let names = batch.schema_ref().fields().iter().map(|field| field.name());
    if names.eq(header.fields().iter().map(|field| field.name())) {
        return Ok(());
    }
    Err(Error::internal("the columns of the predictions differ from those of the rows before"))
}

/// The error of an encoder that is given rows first.
pub(super) fn no_header() -> Error {
    Error::internal("rows were encoded before their header")
}

/// What to say of a record that is longer than it may be.
pub(super) fn record_too_long(row: usize, limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("row {row} is longer than the {limit} bytes that a row may have"))
}

/// The byte order mark that some programs write before UTF-8, which may come in
/// pieces like everything else.
#[derive(Debug, Default)]
pub(crate) struct ByteOrderMark {
    held: Vec<u8>,
    passed: bool,
}

impl ByteOrderMark {
    const BYTES: [u8; 3] = [0xef, 0xbb, 0xbf];

    /// The bytes without the mark; `None` while they may be a part of one.
    pub(crate) fn strip<'b>(&mut self, bytes: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        if self.passed {
            return Some(Cow::Borrowed(bytes));
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() < Self::BYTES.len() && Self::BYTES.starts_with(&self.held) {
            return None;
        }
        let bytes = self.take();
        Some(Cow::Owned(bytes.strip_prefix(&Self::BYTES).map(<[u8]>::to_vec).unwrap_or(bytes)))
    }

    /// What was held back, at the end of the bytes.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.passed = true;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use arrow_array::{ArrayRef, Float64Array};

    use super::*;

    #[test]
    fn rows_with_other_columns_than_those_before_are_refused_in_every_format() {
        let value: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
        let batch = |names: &[&str]| {
            RecordBatch::try_from_iter_with_nullable(names.iter().map(|name| (*name, Arc::clone(&value), true)))
                .unwrap()
        };
        for format in Format::ALL {
            let (mut encoder, mut out) = (encoder(format, EncodeOptions::default()), Vec::new());
            assert_eq!(*encoder.encode(&batch(&["a", "b"]), &mut out).unwrap_err().kind(), Kind::Internal, "{format}");
            encoder.header(batch(&["a", "b"]).schema_ref(), &mut out).unwrap();
            encoder.encode(&batch(&["a", "b"]), &mut out).unwrap();
            for other in [&["b", "a"][..], &["a"], &["a", "b", "c"], &["a", "c"]] {
                let error = encoder.encode(&batch(other), &mut out).unwrap_err();
                assert_eq!(*error.kind(), Kind::Internal, "{format} {other:?}");
            }
        }
    }
}
