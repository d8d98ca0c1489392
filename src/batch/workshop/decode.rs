//! Bytes of an input to the columns that the model takes, and those that only
//! the output has.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use arrow_select::filter::filter_record_batch;

use super::failure;
use super::score::Dropped;
use crate::batch::record::{Cause, Failure};
use crate::batch::run::Unmade;
use crate::frame::format::Format;
use crate::frame::schema::{Column, ColumnType, InputSchemas, Inputs, Schema, UnknownColumns};
use crate::frame::stream::{Chunk, OnMisfit, RejectedRow, StreamOptions, decoder, push_whole};

/// Longest record in bytes.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// Longest input in bytes, which is how much text a column of Arrow can have.
const MAX_BYTES: usize = i32::MAX as usize;

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
    /// A column to keep that isn't there although there are rows.
    pub lacks: Option<String>,
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
        if bytes.len() > MAX_BYTES {
            return Err(failure(
                Cause::TooLarge,
                format!("{input} is longer than {MAX_BYTES} bytes; split it with partition.split"),
            ));
        }
        let schema = self.schema(input, format);
        let Decoded { frame, rejected, rows, .. } = read(input, format, schema, bytes, max_rows)?;
        let lacks = if input == self.rows_like { self.lacking(input, format, &frame, bytes) } else { None };
        Ok(Decoded { frame, rejected, rows, lacks })
    }

    /// A column to keep that isn't there although there are rows. One that was put into
    /// the schema is there in any case; if nothing is in it, the input is asked itself.
    fn lacking(&self, input: &str, format: Format, frame: &RecordBatch, bytes: &[u8]) -> Option<String> {
        if frame.num_rows() == 0 {
            return None;
        }
        let schema = self.schemas.get(input);
        let passes = schema.is_none_or(|schema| schema.unknown_columns == UnknownColumns::Pass);
        let mut empty = Vec::new();
        for name in self.keep.iter().filter(|name| schema.is_none_or(|schema| schema.position(name).is_none())) {
            match frame.column_by_name(name) {
                None => return Some(name.clone()),
                Some(column) if !passes && column.null_count() == column.len() => empty.push(name),
                Some(_) => {}
            }
        }
        if empty.is_empty() {
            return None;
        }
        let came = read(input, format, Schema::untyped(), bytes, usize::MAX).ok()?.frame;
        empty.into_iter().find(|name| came.column_by_name(name).is_none()).cloned()
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
    ///
    /// # Errors
    /// Two of them can't stand beside each other.
    pub(super) fn kept(&self, frame: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut fields = Vec::with_capacity(self.keep.len());
        let mut columns = Vec::with_capacity(self.keep.len());
        for name in &self.keep {
            match frame.schema_ref().column_with_name(name) {
                Some((position, field)) => {
                    fields.push(field.clone());
                    columns.push(frame.column(position).clone());
                }
                // Without rows there need not be columns.
                None => {
                    fields.push(Field::new(name, DataType::Utf8, true));
                    columns.push(new_null_array(&DataType::Utf8, frame.num_rows()));
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(frame.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
    }

    /// Frames in the order of the model's inputs.
    pub(super) fn in_order(&self, mut frames: Vec<(String, RecordBatch)>) -> Inputs<RecordBatch> {
        let order: Vec<&str> = self.schemas.iter().map(|(name, _)| name).collect();
        frames.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
        Inputs::named(frames)
    }
}

/// Reads an input as one chunk: what a column without a type is, is known when all of
/// it was seen.
fn read(input: &str, format: Format, schema: Schema, bytes: &[u8], max_rows: usize) -> Result<Decoded, Failure> {
    let malformed =
        |error: crate::error::Error| failure(Cause::InputMalformed, format!("{input}: {}", describe(&error)));
    let options = StreamOptions {
        max_record_bytes: MAX_RECORD_BYTES,
        max_message_bytes: MAX_BYTES,
        chunk_bytes: usize::MAX,
        on_misfit: OnMisfit::Reject,
        non_finite_strings: true,
    };
    let mut decoder = decoder(format, Arc::new(schema), options)
        .ok_or_else(|| failure(Cause::InputMalformed, format!("{input}: {format} can't be read here")))?;
    let too_many = || {
        let detail = format!("{input} has more than {max_rows} rows (limits.max_rows); split it with partition.split");
        failure(Cause::TooLarge, detail)
    };
    if !push_whole(&mut *decoder, bytes, max_rows).map_err(malformed)? {
        return Err(too_many());
    }
    let chunk = decoder.next_chunk(max_rows.saturating_add(1)).map_err(malformed)?;
    let Chunk { batch, rejected, .. } =
        chunk.ok_or_else(|| failure(Cause::InputMalformed, format!("{input} is not complete")))?;
    let rows = batch.num_rows() + rejected.len();
    if rows > max_rows {
        return Err(too_many());
    }
    Ok(Decoded { frame: batch, rejected, rows: rows as u64, lacks: None })
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
    tokio::task::spawn_blocking(work).await.map_err(|error| Unmade::trouble(format!("a codec failed: {error}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::fmt::Write;

    use super::*;
    use crate::frame::schema::SINGLE_INPUT;

    /// What is decoded for a model that takes `x`, or anything, and an output that keeps
    /// `k`.
    fn decode(typed: bool, format: Format, text: &str) -> Result<Decoded, Failure> {
        let schema = Schema { columns: vec![Column::new("x", ColumnType::Double)], ..Schema::default() };
        let schema = if typed { schema } else { Schema::untyped() };
        let columns = Columns {
            schemas: Inputs::named(vec![(SINGLE_INPUT.to_owned(), schema)]),
            rows_like: SINGLE_INPUT.to_owned(),
            keep: vec!["k".to_owned()],
        };
        let decoded = columns.decode(SINGLE_INPUT, format, text.as_bytes(), 1_000_000)?;
        if decoded.lacks.is_none() {
            assert_eq!(columns.kept(&decoded.frame).unwrap().num_columns(), 1);
        }
        Ok(decoded)
    }

    #[test]
    fn a_column_to_keep_must_be_there_when_there_are_rows() {
        for typed in [true, false] {
            for (format, text, lacks) in [
                (Format::Csv, "x\n1\n", true),
                (Format::Csv, "x\n", false),
                (Format::Csv, "x,k\n1,\n2,\n", false),
                (Format::Ndjson, "{\"x\":1}\n", true),
                (Format::Ndjson, "{\"x\":1,\"k\":null}\n", false),
                (Format::Ndjson, "", false),
            ] {
                let decoded = decode(typed, format, text).unwrap();
                assert_eq!(decoded.lacks.is_some(), lacks, "{typed} {format}: {text:?}");
            }
        }
    }

    #[test]
    fn a_column_whose_first_value_comes_late_has_its_type() {
        const ROWS: usize = 150_000;
        let (mut csv, mut lines) = ("x,k\n".to_owned(), String::new());
        for row in 0..ROWS {
            let last = row + 1 == ROWS;
            writeln!(csv, "{row},{}", if last { "late" } else { "" }).unwrap();
            writeln!(lines, "{{\"x\":{row},\"k\":{}}}", if last { "\"late\"" } else { "null" }).unwrap();
        }
        for (format, text) in [(Format::Csv, csv), (Format::Ndjson, lines)] {
            let Decoded { frame, rows, .. } = decode(false, format, &text).unwrap();
            assert_eq!((rows, frame.num_rows()), (ROWS as u64, ROWS));
            assert_eq!(frame.column_by_name("k").unwrap().data_type(), &DataType::Utf8);
        }
    }

    #[test]
    fn rows_are_bounded() {
        let columns = Columns {
            schemas: Inputs::named(vec![(SINGLE_INPUT.to_owned(), Schema::untyped())]),
            rows_like: SINGLE_INPUT.to_owned(),
            keep: Vec::new(),
        };
        assert_eq!(columns.decode(SINGLE_INPUT, Format::Csv, b"x\n1\n2\n", 2).unwrap().rows, 2);
        let failure = columns.decode(SINGLE_INPUT, Format::Csv, b"x\n1\n2\n3\n", 2).err().unwrap();
        assert_eq!(failure.cause, Cause::TooLarge);
        // What comes after too many rows is not read: no record is so long.
        let body = format!("x\n{}{}\n", "1\n".repeat(100_000), "1".repeat(MAX_RECORD_BYTES + 1));
        let failure = columns.decode(SINGLE_INPUT, Format::Csv, body.as_bytes(), 2).err().unwrap();
        assert_eq!(failure.cause, Cause::TooLarge);
    }
}
