//! NDJSON: one record per line, each read by the rules of records. Empty lines
//! are no rows.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::DecodeOptions;
use super::records::read_record;
use super::report::Report;
use crate::error::{Error, Result};
use crate::frame::findings::Findings;
use crate::frame::schema::Schema;
use crate::frame::stream::progress::{Progress, settle};
use crate::frame::stream::{ByteOrderMark, Chunk, Decoder, RejectedRow, StreamOptions, record_too_long};
use crate::frame::table::{Decided, Table};

/// Reads rows from NDJSON.
pub struct LinesDecoder {
    schema: Arc<Schema>,
    options: StreamOptions,
    mark: ByteOrderMark,
    /// The lines that are held and the one that is arriving, nothing between them:
    /// empty lines take no memory, however many come.
    bytes: Vec<u8>,
    /// Lines that are complete and not empty.
    lines: VecDeque<Line>,
    /// Where the line that is arriving begins.
    arriving: usize,
    /// Lines of the stream before it, empty ones too.
    lines_before: usize,
    decided: Decided,
    progress: Progress,
}

/// Where a line lies in the bytes.
struct Line {
    start: usize,
    /// The line end is not part of it.
    end: usize,
    number: usize,
}

impl LinesDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        Self {
            schema,
            options,
            mark: ByteOrderMark::default(),
            bytes: Vec::new(),
            lines: VecDeque::new(),
            arriving: 0,
            lines_before: 0,
            decided: Decided::default(),
            progress: Progress::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
            self.end_line()?;
        }
        self.bytes.extend_from_slice(last);
        self.check_length()
    }

    /// Ends the line that is arriving.
    fn end_line(&mut self) -> Result<()> {
        self.check_length()?;
        let (start, end) = (self.arriving, self.bytes.len());
        if self.bytes[start..].trim_ascii().is_empty() {
            self.bytes.truncate(start);
        } else {
            self.lines.push_back(Line { start, end, number: self.lines_before });
            self.arriving = end;
        }
        self.lines_before += 1;
        Ok(())
    }

    fn check_length(&self) -> Result<()> {
        let limit = self.options.max_record_bytes;
        if self.bytes.len() - self.arriving < limit {
            return Ok(());
        }
        Err(record_too_long(self.progress.rows() + self.lines.len(), limit))
    }

    /// Reads the first lines; `None` when digits must be compared to know some
    /// number (see [`Report::saw_long_number`]).
    fn read_rows(&self, count: usize, compare_digits: bool) -> Result<Option<(Chunk, Decided)>> {
        let StreamOptions { on_misfit, non_finite_strings, .. } = self.options;
        let options = DecodeOptions { max_rows: usize::MAX, non_finite_strings };
        let first = self.progress.rows();
        let mut findings = Findings::from_row(first);
        let mut table = Table::continuing(&self.schema, non_finite_strings, &self.decided);
        let mut rejected = Vec::new();
        for (held, line) in self.lines.iter().take(count).enumerate() {
            let bytes = &self.bytes[line.start..line.end];
            let outcome = match std::str::from_utf8(bytes) {
                Err(error) => Err(Error::malformed(format!("line {} is not UTF-8", line.number + 1)).because(error)),
                Ok(text) => {
                    let mut report = Report::of_line(text, options, line.number, findings);
                    if compare_digits {
                        report = report.comparing_digits();
                    }
                    let outcome = read_record(text, &mut table, &mut report);
                    let outcome = outcome.map_err(|error| report.conclude(error, text));
                    if report.saw_long_number() {
                        return Ok(None);
                    }
                    findings = report.findings;
                    outcome
                }
            };
            let columns = 0..table.width();
            if let Some(error) = settle(outcome, on_misfit, columns, &mut table, &mut findings)? {
                let raw = Bytes::copy_from_slice(bytes.strip_suffix(b"\r").unwrap_or(bytes));
                rejected.push(RejectedRow { row: (first + held) as u64, raw, error });
            }
        }
        let decided = table.decided();
        let batch = table.finish(&mut findings)?;
        Ok(Some((Chunk { batch, rejected, warnings: findings.into_warnings()? }, decided)))
    }

    fn drop_lines(&mut self, count: usize) {
        self.progress.gave(count);
        self.lines.drain(..count);
        let start = self.lines.front().map_or(self.arriving, |line| line.start);
        // Memory moves when half of it is of no use any more.
        if start * 2 < self.bytes.len() {
            return;
        }
        self.bytes.drain(..start);
        for line in &mut self.lines {
            line.start -= start;
            line.end -= start;
        }
        self.arriving -= start;
    }
}

impl Decoder for LinesDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut mark = std::mem::take(&mut self.mark);
        let taken = mark.strip(bytes).map_or(Ok(()), |bytes| self.take(&bytes));
        self.mark = mark;
        taken
    }

    fn finish(&mut self) -> Result<()> {
        let held = self.mark.take();
        self.take(&held)?;
        if self.arriving < self.bytes.len() {
            self.end_line()?;
        }
        self.progress.finish();
        Ok(())
    }

    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        let start = self.lines.front().map_or(0, |line| line.start);
        let is_full = |line: &Line| line.end - start >= self.options.chunk_bytes;
        let full = self.lines.iter().take(max_rows).position(is_full).map(|last| last + 1);
        let Some(count) = self.progress.chunk(self.lines.len(), max_rows, full) else { return Ok(None) };
        let read = match self.read_rows(count, false)? {
            Some(read) => Some(read),
            None => self.read_rows(count, true)?,
        };
        self.drop_lines(count);
        Ok(read.map(|(chunk, decided)| {
            self.decided = decided;
            chunk
        }))
    }

    fn complete_rows(&self) -> usize {
        self.lines.len()
    }

    fn buffered(&self) -> usize {
        self.bytes.len() + self.lines.len() * size_of::<Line>()
    }
}
