//! Rows from a Parquet file that is in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::frame::arrow::{Batches, too_long};
use crate::frame::render;
use crate::frame::schema::Schema;
use crate::frame::stream::{Chunk, Decoder, StreamOptions};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 4096;
/// Most characters of the library's message in an answer.
const MESSAGE_CHARACTERS: usize = 300;

/// Reads rows from a Parquet file.
pub struct ParquetDecoder {
    options: StreamOptions,
    file: BytesMut,
    reader: Option<ParquetRecordBatchReader>,
    batches: Batches,
}

impl ParquetDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        Self { options, file: BytesMut::new(), reader: None, batches: Batches::new(schema, options) }
    }

    fn open(&mut self) -> Result<ParquetRecordBatchReader> {
        let file = std::mem::take(&mut self.file).freeze();
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(malformed)?;
        self.check_size(metadata.metadata())?;
        let columns = Arc::clone(metadata.schema());
        // Strings stay dictionaries: a long one that a million rows share is there once.
        let options = ArrowReaderOptions::new().with_schema(with_dictionaries(&columns));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(malformed)?;
        self.batches.begin(columns)?;
        ParquetRecordBatchReaderBuilder::<Bytes>::new_with_metadata(file, metadata)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(malformed)
    }

    fn check_size(&self, metadata: &ParquetMetaData) -> Result<()> {
        let limit = self.options.max_message_bytes;
        if inflated(metadata).is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit)) {
            return Ok(());
        }
        Err(too_long("the Parquet file inflates to columns", limit, "send the rows in several files"))
    }
}

impl Decoder for ParquetDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let limit = self.options.max_message_bytes;
        if self.file.len() + bytes.len() > limit {
            return Err(too_long("the Parquet file is", limit, "send the rows in several files"));
        }
        self.file.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.reader = Some(unless_panics(|| self.open())?);
        Ok(())
    }

    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        if let Some(reader) = &mut self.reader {
            while self.batches.rows() < max_rows.max(1) && self.batches.bytes() < self.options.chunk_bytes {
                let Some(batch) = unless_panics(|| Ok(reader.next()))? else {
                    self.reader = None;
                    self.batches.finish();
                    break;
                };
                let batch = batch.map_err(malformed)?;
                let bytes = batch.get_array_memory_size();
                self.batches.push(batch, bytes);
            }
        }
        self.batches.next_chunk(max_rows)
    }

    fn buffered(&self) -> usize {
        self.file.len() + self.batches.bytes()
    }
}

/// Bytes that the columns of a file take in memory, roughly, as its end says: what its
/// pages inflate to, and a double per cell, for a run of equal values is one value there.
/// `None` when the end can't be read.
pub fn decoded_bytes(file: &Bytes) -> Option<u64> {
    let metadata = unless_panics(|| ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(malformed));
    let metadata = metadata.ok()?;
    let (rows, columns) = (metadata.metadata().file_metadata().num_rows(), metadata.schema().fields().len() as u64);
    let cells = u64::try_from(rows).ok()?.saturating_mul(columns);
    Some(inflated(metadata.metadata())?.saturating_add(cells.saturating_mul(8)))
}

fn inflated(metadata: &ParquetMetaData) -> Option<u64> {
    let groups = metadata.row_groups().iter().map(|group| group.total_byte_size());
    u64::try_from(groups.fold(0_i64, i64::saturating_add)).ok()
}

/// The library panics on some files that are broken in the middle. The decoder is
/// not used again after that: an error is final.
fn unless_panics<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(malformed("its parts don't fit together")))
}

fn with_dictionaries(columns: &ArrowSchema) -> Arc<ArrowSchema> {
    let fields = columns.fields().iter().map(|field| {
        let text = match field.data_type() {
            DataType::Utf8 | DataType::Utf8View => DataType::Utf8,
            DataType::LargeUtf8 => DataType::LargeUtf8,
            _ => return field.as_ref().clone(),
        };
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(text));
        Field::new(field.name(), dictionary, field.is_nullable())
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

fn malformed(error: impl std::fmt::Display) -> Error {
    let message = render::shortened(&error.to_string(), MESSAGE_CHARACTERS);
    Error::malformed(format!("not a Parquet file that can be read: {message}"))
}
