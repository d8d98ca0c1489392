//! Record batches that wait to become chunks of rows of a schema; what the Arrow
//! and the Parquet decoder share.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;

use super::columns::Target;
use super::misfits::Misfits;
use crate::error::{Error, Kind, Result};
use crate::frame::findings::Findings;
use crate::frame::names::START;
use crate::frame::schema::Schema;
use crate::frame::stream::progress::Progress;
use crate::frame::stream::{Chunk, OnMisfit, RejectedRow, StreamOptions};
use crate::frame::table::{Decided, Slot, Table, check_names};

/// Batches of one stream, all with the same columns.
pub(in crate::frame) struct Batches {
    schema: Arc<Schema>,
    options: StreamOptions,
    columns: Option<SchemaRef>,
    waiting: VecDeque<Waiting>,
    /// Rows and bytes of what waits.
    rows: usize,
    bytes: usize,
    decided: Decided,
    progress: Progress,
}

/// What is left of a batch, and of the bytes that it took.
struct Waiting {
    batch: RecordBatch,
    bytes: usize,
}

impl Batches {
    /// Nothing yet.
    pub(in crate::frame) fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        Self {
            schema,
            options,
            columns: None,
            waiting: VecDeque::new(),
            rows: 0,
            bytes: 0,
            decided: Decided::default(),
            progress: Progress::default(),
        }
    }

    /// Sets the columns that all batches have.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when a name is there twice, [`Kind::TooLarge`] when there
    /// are too many.
    pub(in crate::frame) fn begin(&mut self, columns: SchemaRef) -> Result<()> {
        let names = columns.fields().iter().map(|field| field.name().as_str());
        check_names(&self.schema, "the schema", names)?;
        self.columns = Some(columns);
        Ok(())
    }

    /// Whether the columns are known.
    pub(in crate::frame) fn has_begun(&self) -> bool {
        self.columns.is_some()
    }

    /// Adds a batch that came as that many bytes. Columns of types that no column
    /// holds may be left out, with an array of [`DataType::Null`] in their place.
    pub(in crate::frame) fn push(&mut self, batch: RecordBatch, bytes: usize) {
        if batch.num_rows() > 0 {
            self.rows = self.rows.saturating_add(batch.num_rows());
            self.bytes = self.bytes.saturating_add(bytes);
            self.waiting.push_back(Waiting { batch, bytes });
        }
    }

    /// There are no more batches.
    pub(in crate::frame) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Bytes of what waits.
    pub(in crate::frame) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows that wait.
    pub(in crate::frame) fn rows(&self) -> usize {
        self.rows
    }

    /// The next rows, as for [`Decoder::next_chunk`](crate::frame::stream::Decoder::next_chunk).
    ///
    /// # Errors
    /// The same.
    pub(in crate::frame) fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        let Some(columns) = self.columns.clone() else { return Ok(None) };
        let (mut rows, mut bytes, mut full) = (0, 0, None);
        for waiting in &self.waiting {
            rows += waiting.batch.num_rows();
            bytes += waiting.bytes;
            if bytes >= self.options.chunk_bytes {
                full = Some(rows);
                break;
            }
        }
        let Some(count) = self.progress.chunk(self.rows(), max_rows, full) else { return Ok(None) };
        let pieces = self.take(count);
        let chunk = self.read(&columns, &pieces);
        self.progress.gave(count);
        chunk.map(Some)
    }

    /// Takes the first rows.
    fn take(&mut self, count: usize) -> Vec<RecordBatch> {
        let mut pieces = Vec::new();
        let mut missing = count;
        while missing > 0
            && let Some(Waiting { batch, bytes }) = self.waiting.pop_front()
        {
            let (rows, taken) = (batch.num_rows(), missing.min(batch.num_rows()));
            missing -= taken;
            pieces.push(batch.slice(0, taken));
            self.rows -= taken;
            self.bytes -= bytes;
            if taken < rows {
                let bytes = bytes / rows * (rows - taken);
                self.bytes += bytes;
                self.waiting.push_front(Waiting { batch: batch.slice(taken, rows - taken), bytes });
            }
        }
        pieces
    }

    fn read(&mut self, columns: &SchemaRef, pieces: &[RecordBatch]) -> Result<Chunk> {
        let first = self.progress.rows();
        let mut findings = Findings::from_row(first);
        let mut table = Table::continuing(&self.schema, false, &self.decided);
        let mut positions = Vec::with_capacity(columns.fields().len());
        let mut place = START;
        for field in columns.fields() {
            let position = table.position(place, field.name(), &mut findings).map_err(Error::from)?;
            place = position + 1;
            positions.push(position);
        }
        let mut misfits = Misfits::new(&mut findings, self.options.on_misfit);
        let text_bytes = self.options.max_message_bytes.min(i32::MAX as usize);
        let mut stored_bytes = 0;
        for (number, position) in positions.into_iter().enumerate() {
            if let Slot::Dropped(_) = table.slot(position) {
                continue;
            }
            let got = columns.field(number).data_type();
            let is_null = |array: &dyn Array| *array.data_type() == DataType::Null;
            // Such cells took no bytes on their way.
            let nulls = pieces.iter().filter(|piece| is_null(piece.column(number))).map(RecordBatch::num_rows).sum();
            table.count_absent(nulls).map_err(Error::from)?;
            let Slot::Kept(column) = table.slot(position) else { continue };
            for piece in pieces {
                let array: &dyn Array = piece.column(number);
                let was_left_out = is_null(array) && *got != DataType::Null;
                let stored_bytes = &mut stored_bytes;
                let mut target = Target { column, misfits: &mut misfits, text_bytes, stored_bytes };
                if was_left_out || !target.push(array)? {
                    misfits.add_column(column, format!("the Arrow type {got}"));
                    break;
                }
            }
        }
        let rejected = misfits.into_rows();
        let rows = pieces.iter().map(RecordBatch::num_rows).sum();
        // A column that stopped at its type is an error by now, whatever is in it.
        if self.options.on_misfit == OnMisfit::Fail || findings.have_a_column() {
            findings.take_misfit().map_or(Ok(()), Err)?;
        }
        table.end_columns(rows, &mut findings).map_err(Error::from)?;
        for row in rejected.keys() {
            table.reject(*row);
        }
        self.decided = table.decided();
        let batch = table.finish(&mut findings)?;
        let rejected = rejected.into_iter().map(|(row, cells)| RejectedRow {
            row: (first + row) as u64,
            raw: Bytes::new(),
            error: Error::misfit(cells),
        });
        Ok(Chunk { batch, rejected: rejected.collect(), warnings: findings.into_warnings()? })
    }
}

/// The error for a part that is longer than it may be.
pub(in crate::frame) fn too_long(what: &str, limit: usize, advice: &str) -> Error {
    Error::new(Kind::TooLarge, format!("{what} longer than the {limit} bytes that are allowed; {advice}"))
}
