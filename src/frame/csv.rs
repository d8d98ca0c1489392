//! CSV as R, pandas and spreadsheets write it (RFC 4180): a header, commas,
//! double quotes, UTF-8. Columns are found by name, in any order.

mod encode;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use self::encode::CsvEncoder;
use self::tokens::{Row, Tokens};
use super::findings::Findings;
use super::names::START;
use super::render;
use super::schema::Schema;
use super::stream::progress::{Progress, settle};
use super::stream::{Chunk, Decoder, OnMisfit, RejectedRow, StreamOptions, record_too_long};
use super::table::{Decided, Slot, Table, check_names};
use crate::error::{Error, Kind, Result};

/// Reads rows from CSV.
pub struct CsvDecoder {
    schema: Arc<Schema>,
    options: StreamOptions,
    tokens: Tokens,
    header: Option<Vec<String>>,
    decided: Decided,
    progress: Progress,
}

impl CsvDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        let keep_raw = options.on_misfit == OnMisfit::Reject;
        Self {
            schema,
            options,
            tokens: Tokens::new(options.max_record_bytes, keep_raw),
            header: None,
            decided: Decided::default(),
            progress: Progress::default(),
        }
    }

    fn read_header(&mut self) -> Result<()> {
        let Some(row) = self.tokens.rows().first() else { return Ok(()) };
        let names = row.fields.clone().map(|field| self.tokens.field(field).map(|(name, _)| name));
        let names = names.collect::<Option<Vec<_>>>().ok_or_else(|| not_utf8("the header"))?;
        check_names(&self.schema, "the header", names.iter().copied())?;
        if row.unclosed {
            return Err(unclosed("the header"));
        }
        self.header = Some(names.into_iter().map(str::to_owned).collect());
        self.tokens.drop_rows(1);
        Ok(())
    }

    /// The error for the record that is arriving.
    fn too_long(&self, limit: usize) -> Error {
        let records = self.progress.rows() + self.tokens.rows().len();
        match (&self.header, records) {
            (None, 0) => Error::new(Kind::TooLarge, format!("the header is longer than the {limit} bytes of a record")),
            (None, _) => record_too_long(records - 1, limit),
            (Some(_), _) => record_too_long(records, limit),
        }
    }

    fn read_rows(&mut self, count: usize, header: &[String]) -> Result<Chunk> {
        let first = self.progress.rows();
        let mut findings = Findings::from_row(first);
        let mut table = Table::continuing(&self.schema, false, &self.decided);
        let mut positions = Vec::with_capacity(header.len());
        let mut place = START;
        for name in header {
            let position = table.position(place, name, &mut findings).map_err(Error::from)?;
            place = position + 1;
            positions.push(position);
        }
        let mut rejected = Vec::new();
        for (held, row) in self.tokens.rows()[..count].iter().enumerate() {
            let number = first + held;
            let outcome = self.check(row, number, header);
            if outcome.is_ok() {
                read_row(&self.tokens, row.fields.clone(), &positions, &mut table, &mut findings);
            }
            let columns = positions.iter().copied();
            if let Some(error) = settle(outcome, self.options.on_misfit, columns, &mut table, &mut findings)? {
                let raw = Bytes::copy_from_slice(self.tokens.raw(held));
                rejected.push(RejectedRow { row: number as u64, raw, error });
            }
        }
        let rows = table.rows();
        table.end_columns(rows, &mut findings).map_err(Error::from)?;
        self.decided = table.decided();
        let batch = table.finish(&mut findings)?;
        let warnings = findings.into_warnings()?;
        Ok(Chunk { batch, rejected, warnings })
    }

    /// Whether a row can be read at all.
    fn check(&self, row: &Row, number: usize, header: &[String]) -> Result<()> {
        if row.unclosed {
            return Err(unclosed(&format!("row {number}")));
        }
        let (got, expected) = (row.fields.len(), header.len());
        if got != expected {
            let detail = format!("row {number} has {got} values for the {expected} columns of the header");
            return Err(Error::malformed(detail));
        }
        match row.fields.clone().find(|field| self.tokens.field(*field).is_none()) {
            None => Ok(()),
            Some(field) => {
                let column = &header[field - row.fields.start];
                Err(not_utf8(&format!("row {number}, column {}", render::quoted(column))))
            }
        }
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.tokens.push(bytes).map_err(|limit| self.too_long(limit))?;
        if self.header.is_none() { self.read_header() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<()> {
        self.tokens.finish().map_err(|limit| self.too_long(limit))?;
        self.progress.finish();
        if self.header.is_none() {
            self.read_header()?;
        }
        if self.header.is_none() {
            return Err(Error::malformed("the CSV is empty: its first line must name the columns"));
        }
        Ok(())
    }

    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        let Some(header) = self.header.take() else { return Ok(None) };
        let complete = self.tokens.rows();
        let is_full = |row: &Row| row.end >= self.options.chunk_bytes as u64;
        let full = complete.iter().take(max_rows).position(is_full).map(|last| last + 1);
        let rows = self.progress.chunk(complete.len(), max_rows, full);
        let chunk = rows.map(|count| self.read_rows(count, &header)).transpose();
        self.header = Some(header);
        if let Some(count) = rows {
            self.tokens.drop_rows(count);
            self.progress.gave(count);
        }
        chunk
    }

    fn complete_rows(&self) -> usize {
        self.tokens.rows().len()
    }

    fn buffered(&self) -> usize {
        self.tokens.bytes()
    }
}

/// Reads the cells of a row that has as many as there are columns.
fn read_row(
    tokens: &Tokens,
    fields: Range<usize>,
    positions: &[usize],
    table: &mut Table<'_>,
    findings: &mut Findings,
) {
    let row = table.rows();
    for (field, position) in fields.zip(positions) {
        let (Slot::Kept(column), Some((text, quoted))) = (table.slot(*position), tokens.field(field)) else {
            continue;
        };
        if let Err(why) = column.push_untyped(text, quoted) {
            findings.misfit(Some(row), column.name(), || (column.expected(why), got(text, quoted)));
        }
    }
    table.end_split_row();
}

fn got(text: &str, quoted: bool) -> String {
    match (text, quoted) {
        ("", false) => "nothing".to_owned(),
        (_, true) => format!("{} (quoted)", render::string(text)),
        (_, false) => render::literal(text),
    }
}

fn unclosed(place: &str) -> Error {
    Error::malformed(format!("{place} has a quoted value that is not closed, or goes on after its closing quote"))
}

fn not_utf8(place: &str) -> Error {
    Error::malformed(format!("{place} is not UTF-8"))
}
