//! Bytes of an input to the columns that the model takes, and those that only
//! the output has.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema as ArrowSchema};
use arrow_select::filter::filter_record_batch;

use super::failure;
use super::score::Dropped;
use crate::batch::record::{Cause, Failure};
use crate::batch::run::Unmade;
use crate::frame::format::Format;
use crate::frame::join::join;
use crate::frame::schema::{Column, ColumnType, InputSchemas, Inputs, Schema, UnknownColumns};
use crate::frame::stream::{OnMisfit, RejectedRow, StreamOptions, decoder};

/// Rows of one chunk while decoding.
const CHUNK_ROWS: usize = 65_536;

/// Longest record in bytes.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// Longest message of an Arrow stream in bytes.
const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// Which columns are read of which input.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Schemas of the model's inputs.
    pub schemas: InputSchemas,
    /// The input whose rows the predictions have.
    pub rows_like: String,
    /// Columns of that input that the output has as well.
    pub keep: Vec<String>,
}

/// A decoded input.
pub(super) struct Decoded {
    /// The rows that fit.
    pub frame: RecordBatch,
    /// Those that don't.
    pub rejected: Vec<RejectedRow>,
    /// All rows.
    pub rows: u64,
}

impl Columns {
    /// Whether the job's inputs are those of the model.
    ///
    /// # Errors
    /// Every one that is missing or too much.
    pub fn check(&self, inputs: &[&str]) -> Result<(), Vec<String>> {
        let model: BTreeSet<&str> = self.schemas.iter().map(|(name, _)| name).collect();
        let job: BTreeSet<&str> = inputs.iter().copied().collect();
        let names = || model.iter().copied().collect::<Vec<_>>().join(", ");
        let mut problems = Vec::new();
        for name in job.difference(&model) {
            problems.push(format!("inputs.{name}: the model has no such input; it has {}", names()));
        }
        for name in model.difference(&job) {
            problems.push(format!("inputs.{name}: the model needs it"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The model's schema of an input with the columns that are only kept.
    fn schema(&self, input: &str, format: Format) -> Schema {
        let mut schema = self.schemas.get(input).cloned().unwrap_or_else(Schema::untyped);
        if input == self.rows_like && schema.unknown_columns != UnknownColumns::Pass {
            // Text stays as it is written, `007` for one.
            let kind = if format == Format::Csv { ColumnType::Character } else { ColumnType::Any };
            for name in &self.keep {
                if schema.position(name).is_none() {
                    schema.columns.push(Column::new(name, kind));
                }
            }
        }
        schema
    }

    /// Decodes an input as a whole.
    pub(super) fn decode(
        &self,
        input: &str,
        format: Format,
        bytes: &[u8],
        max_rows: usize,
    ) -> Result<Decoded, Failure> {
        let malformed =
            |error: crate::error::Error| failure(Cause::InputMalformed, format!("{input}: {}", describe(&error)));
        let options = StreamOptions {
            max_record_bytes: MAX_RECORD_BYTES,
            max_message_bytes: MAX_MESSAGE_BYTES,
            chunk_bytes: usize::MAX,
            on_misfit: OnMisfit::Reject,
            non_finite_strings: true,
        };
        let mut decoder = decoder(format, Arc::new(self.schema(input, format)), options)
            .ok_or_else(|| failure(Cause::InputMalformed, format!("{input}: {format} can't be read here")))?;
        let mut batches = Vec::new();
        let mut rejected = Vec::new();
        let mut rows = 0u64;
        decoder.push(bytes).map_err(malformed)?;
        decoder.finish().map_err(malformed)?;
        while let Some(chunk) = decoder.next_chunk(CHUNK_ROWS).map_err(malformed)? {
            rows += (chunk.batch.num_rows() + chunk.rejected.len()) as u64;
            if rows > max_rows as u64 {
                return Err(failure(
                    Cause::TooLarge,
                    format!("{input} has more than {max_rows} rows (limits.max_rows); split it with partition.split"),
                ));
            }
            batches.push(chunk.batch);
            rejected.extend(chunk.rejected);
        }
        let frame = match batches.as_slice() {
            [one] => one.clone(),
            many => join(&many.iter().collect::<Vec<_>>())
                .map_err(|error| failure(Cause::InputMalformed, format!("{input}: {error}")))?,
        };
        Ok(Decoded { frame, rejected, rows })
    }

    /// The columns that the model takes.
    pub(super) fn of_model(&self, input: &str, frame: RecordBatch) -> RecordBatch {
        let Some(schema) = self.schemas.get(input) else { return frame };
        if input != self.rows_like || schema.unknown_columns == UnknownColumns::Pass {
            return frame;
        }
        let positions: Vec<usize> = (0..frame.num_columns())
            .filter(|&position| {
                let name = frame.schema_ref().field(position).name().clone();
                schema.position(&name).is_some() || !self.keep.contains(&name)
            })
            .collect();
        frame.project(&positions).unwrap_or(frame)
    }

    /// The columns that the output begins with.
    pub(super) fn kept(&self, frame: &RecordBatch) -> Result<RecordBatch, String> {
        let mut fields = Vec::with_capacity(self.keep.len());
        let mut columns = Vec::with_capacity(self.keep.len());
        for name in &self.keep {
            let (position, field) = frame
                .schema_ref()
                .column_with_name(name)
                .ok_or_else(|| format!("keep: there is no column '{name}'"))?;
            fields.push(field.clone());
            columns.push(frame.column(position).clone());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(frame.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
            .map_err(|error| error.to_string())
    }

    /// Frames in the order of the model's inputs.
    pub(super) fn in_order(&self, mut frames: Vec<(String, RecordBatch)>) -> Inputs<RecordBatch> {
        let order: Vec<&str> = self.schemas.iter().map(|(name, _)| name).collect();
        frames.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
        Inputs::named(frames)
    }
}

/// Numbers within the object of the rows that fit.
pub(super) fn numbers_of_accepted(rows: u64, rejected: &[RejectedRow], first: u64) -> Vec<u64> {
    let mut rejected = rejected.iter().map(|row| row.row).peekable();
    (0..rows).filter(|row| rejected.next_if_eq(row).is_none()).map(|row| first + row).collect()
}

/// The rows that R could score.
pub(super) fn without(frame: &RecordBatch, dropped: &[Dropped]) -> Result<RecordBatch, ArrowError> {
    if dropped.is_empty() {
        return Ok(frame.clone());
    }
    let mut scored = vec![true; frame.num_rows()];
    for Dropped { position, .. } in dropped {
        scored[*position] = false;
    }
    filter_record_batch(frame, &BooleanArray::from(scored))
}

/// An error with the first cell that it lists, on one line.
pub(super) fn describe(error: &crate::error::Error) -> String {
    let cells = error.cells().map(|cells| {
        let cell = cells
            .listed
            .first()
            .map(|cell| format!("column '{}': expected {}, got {}", cell.column, cell.expected, cell.got));
        cell.unwrap_or_default()
    });
    let cell = cells.filter(|cell| !cell.is_empty());
    let cause = || std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
    cell.unwrap_or_else(|| format!("{}{}", error.detail(), cause()))
}

/// Runs what takes long on a thread beside the event loop.
pub(super) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unmade> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Unmade::Trouble(format!("a codec failed: {error}")))
}
