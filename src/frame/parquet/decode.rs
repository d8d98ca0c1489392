//! Rows from a Parquet file that is in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ProjectionMask};

use super::pages::Pages;
use super::{delta, footer};
use crate::error::{Error, Result};
use crate::frame::arrow::{Batches, CONTINUATION, is_compact, is_readable, too_long};
use crate::frame::render;
use crate::frame::schema::Schema;
use crate::frame::stream::{Chunk, Decoder, StreamOptions};

/// Most rows that are decoded at a time; fewer where a single value may be long.
const BATCH_ROWS: usize = 4096;
/// Most characters of the library's message in an answer.
const MESSAGE_CHARACTERS: usize = 300;

/// Reads rows from a Parquet file.
pub struct ParquetDecoder {
    options: StreamOptions,
    file: BytesMut,
    reader: Option<Reader>,
    batches: Batches,
    /// What its pages inflate to, and a byte at least for each value.
    stands_for: usize,
}

impl ParquetDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        Self { options, file: BytesMut::new(), reader: None, batches: Batches::new(schema, options), stands_for: 0 }
    }

    fn open(&mut self) -> Result<Reader> {
        let file = std::mem::take(&mut self.file).freeze();
        let metadata = open(&file, self.options.max_message_bytes)?;
        let pages =
            Pages::of(&file, metadata.metadata()).ok_or_else(|| malformed("the headers of its pages are broken"))?;
        let batch_rows = self.check_size(&pages)?;
        let columns = Arc::clone(metadata.schema());
        let read: Vec<bool> = columns.fields().iter().map(|field| is_readable(field.data_type())).collect();
        delta::check(&file, metadata.metadata(), &pages.differences)?;
        let roots = (0..read.len()).filter(|position| read[*position]);
        let roots = ProjectionMask::roots(metadata.parquet_schema(), roots);
        // Strings stay dictionaries: a long one that a million rows share is there once.
        let options = ArrowReaderOptions::new().with_schema(with_dictionaries(&columns));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(malformed)?;
        self.batches.begin(columns)?;
        let reader = ParquetRecordBatchReaderBuilder::<Bytes>::new_with_metadata(file, metadata);
        let batches = reader.with_batch_size(batch_rows).with_projection(roots).build().map_err(malformed)?;
        let (texts, dictionaries) = (0, vec![None; read.len()]);
        Ok(Reader { batches, read, texts, dictionaries, limit: self.options.max_message_bytes })
    }

    /// Looks at what the file inflates to; the value is how many rows of it may be
    /// decoded at a time.
    fn check_size(&mut self, pages: &Pages) -> Result<usize> {
        let limit = self.options.max_message_bytes;
        // In every other format a value takes a byte at least.
        let stands_for = pages.inflated.max(pages.values);
        if stands_for > limit as u64 {
            return Err(too_long("the Parquet file inflates to columns", limit, "send the rows in several files"));
        }
        self.stands_for = stands_for as usize;
        let rows = limit as u64 / pages.longest_shared.max(1);
        Ok(usize::try_from(rows).map_or(BATCH_ROWS, |rows| rows.clamp(1, BATCH_ROWS)))
    }
}

/// How many times as many bytes as the file may inflate to its texts may have, where
/// rows of one batch don't share them.
const TEXTS: usize = 4;

/// The rows of a file that was opened.
struct Reader {
    batches: ParquetRecordBatchReader,
    /// Which of the file's columns are in the batches: a value of a nested or binary
    /// column may be there once for any number of rows, and no column can hold it.
    read: Vec<bool>,
    /// Bytes of texts so far, and where those of each column were last. Rows share
    /// them, unless their pages don't.
    texts: usize,
    dictionaries: Vec<Option<usize>>,
    limit: usize,
}

impl Reader {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(malformed)?;
        self.count_texts(&batch)?;
        if self.read.iter().all(|read| *read) {
            return Ok(Some(batch));
        }
        let (schema, rows) = (batch.schema(), batch.num_rows());
        let mut there = batch.columns().iter().zip(schema.fields());
        let columns = self.read.iter().map(|read| {
            let there = if *read { there.next() } else { None };
            let left_out = || (Field::new("", DataType::Null, true), Arc::new(NullArray::new(rows)) as ArrayRef);
            there.map_or_else(left_out, |(array, field)| (field.as_ref().clone(), Arc::clone(array)))
        });
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options);
        batch.map(Some).map_err(Error::internal)
    }

    fn count_texts(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, last) in batch.columns().iter().zip(&mut self.dictionaries) {
            let Some(dictionary) = column.as_any_dictionary_opt() else { continue };
            let Some(texts) = dictionary.values().as_string_opt::<i32>() else { continue };
            let place = texts.value_data().as_ptr().addr();
            if last.replace(place) != Some(place) {
                self.texts += texts.value_data().len();
            }
        }
        if self.texts > self.limit.saturating_mul(TEXTS) {
            return Err(too_long("the Parquet file inflates to texts", self.limit, "send the rows in several files"));
        }
        Ok(())
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
                let Some(batch) = unless_panics(|| reader.next())? else {
                    self.reader = None;
                    self.batches.finish();
                    break;
                };
                let bytes = batch.get_array_memory_size();
                self.batches.push(batch, bytes);
            }
        }
        self.batches.next_chunk(max_rows)
    }

    fn complete_rows(&self) -> usize {
        self.batches.rows()
    }

    fn buffered(&self) -> usize {
        self.file.len() + self.batches.bytes()
    }

    fn stands_for(&self) -> usize {
        self.stands_for
    }
}

/// Reads what a file that may inflate to `limit` bytes says of itself.
fn open(file: &[u8], limit: usize) -> Result<ArrowReaderMetadata> {
    let metadata = footer::read(file, limit)?;
    let hints = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    for hint in hints.filter(|hint| hint.key == ARROW_SCHEMA_META_KEY) {
        let message = hint.value.as_ref().and_then(|text| BASE64_STANDARD.decode(text).ok());
        if message.is_some_and(|message| {
            !is_compact(message.strip_prefix(&CONTINUATION).and_then(|m| m.get(4..)).unwrap_or(&message))
        }) {
            return Err(malformed("its Arrow schema stands for far more than its bytes"));
        }
    }
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(malformed)
}

/// Bytes that the columns of a file take in memory, roughly, as its pages say: what they
/// inflate to, and a double per cell, for a run of equal values is one value there.
/// `None` when they can't be read.
pub fn decoded_bytes(file: &Bytes) -> Option<u64> {
    let metadata = unless_panics(|| open(file, usize::MAX)).ok()?;
    let (rows, columns) = (metadata.metadata().file_metadata().num_rows(), metadata.schema().fields().len() as u64);
    let cells = u64::try_from(rows).ok()?.saturating_mul(columns);
    Some(Pages::of(file, metadata.metadata())?.inflated.saturating_add(cells.saturating_mul(8)))
}

/// The library panics on some files that are broken in the middle. The decoder is
/// not used again after that: an error is final.
pub(super) fn unless_panics<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(malformed("its parts don't fit together")))
}

fn with_dictionaries(columns: &ArrowSchema) -> Arc<ArrowSchema> {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    let fields = columns.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, values) if !is_text(values) => field.as_ref().clone(),
        kind if is_text(kind) || matches!(kind, DataType::Dictionary(..)) => {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Field::new(field.name(), dictionary, field.is_nullable())
        }
        _ => field.as_ref().clone(),
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn malformed(error: impl std::fmt::Display) -> Error {
    let message = render::shortened(&error.to_string(), MESSAGE_CHARACTERS);
    Error::malformed(format!("not a Parquet file that can be read: {message}"))
}
