//! Records and fields of CSV from bytes that come in pieces. `csv-core` finds
//! where they end; what it does not tell is noted beside: whether a field was
//! quoted, and whether its quotes were in order.

use std::ops::Range;

use csv_core::{ReadFieldResult, Reader};

use crate::frame::stream::ByteOrderMark;

/// Complete records that were not dropped yet, and the one that is arriving.
pub(super) struct Tokens {
    reader: Reader,
    mark: ByteOrderMark,
    max_record_bytes: usize,
    /// Unescaped text of all fields; from `text_end` on it is room.
    text: Vec<u8>,
    text_end: usize,
    fields: Vec<Field>,
    rows: Vec<Row>,
    /// Complete records before this one are dropped.
    first: usize,
    raw: Option<Vec<u8>>,
    /// Bytes of the stream so far, and where the first row that is held begins.
    offset: u64,
    start: u64,
    arriving: Arriving,
}

/// One field: where its text ends, and in the lowest bit whether it was quoted. It
/// begins where the one before it ends. There may be one for each byte of a body.
#[derive(Debug, Clone, Copy)]
struct Field(u64);

impl Field {
    fn new(end: usize, quoted: bool) -> Self {
        Self((end as u64) << 1 | u64::from(quoted))
    }

    fn end(self) -> usize {
        (self.0 >> 1) as usize
    }

    fn is_quoted(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One record.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Numbers of its fields.
    pub(super) fields: Range<usize>,
    /// Where it ends, in bytes after the beginning of the first row that is held.
    pub(super) end: u64,
    /// A quoted field goes on after its closing quote, or has none.
    pub(super) unclosed: bool,
    raw: Range<usize>,
}

/// State of the record, and of its field, that have begun.
#[derive(Debug, Default)]
struct Arriving {
    first_field: usize,
    raw_start: usize,
    bytes: usize,
    unclosed: bool,
    in_field: bool,
    quoted: bool,
    quotes: usize,
    last: u8,
}

impl Tokens {
    /// Nothing yet. With `keep_raw` the bytes of rows are kept too.
    pub(super) fn new(max_record_bytes: usize, keep_raw: bool) -> Self {
        Self {
            reader: Reader::new(),
            mark: ByteOrderMark::default(),
            max_record_bytes,
            text: Vec::new(),
            text_end: 0,
            fields: Vec::new(),
            rows: Vec::new(),
            first: 0,
            raw: keep_raw.then(Vec::new),
            offset: 0,
            start: 0,
            arriving: Arriving::default(),
        }
    }

    /// Takes more bytes; the error is the limit of a record that was passed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let Some(bytes) = self.mark.strip(bytes) else { return Ok(()) };
        // A field is never longer than what was read for it.
        self.text.resize(self.text_end + bytes.len(), 0);
        let mut rest = &*bytes;
        while !rest.is_empty() {
            if !self.arriving.in_field && self.arriving.bytes == 0 {
                // Empty lines are no records; the rest of a CR LF is one of them.
                let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                self.offset += blank as u64;
                rest = &rest[blank..];
                if rest.is_empty() {
                    break;
                }
            }
            rest = self.read_field(rest)?;
        }
        Ok(())
    }

    /// There are no more bytes: what has begun is complete.
    pub(super) fn finish(&mut self) -> Result<(), usize> {
        let held = self.mark.take();
        if !held.is_empty() {
            self.push(&held)?;
        }
        if self.arriving.bytes > 0 {
            self.read_field(&[])?;
        }
        Ok(())
    }

    /// Reads up to the end of a field or of the bytes, and gives what follows.
    fn read_field<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], usize> {
        let arriving = &mut self.arriving;
        if !arriving.in_field {
            arriving.in_field = true;
            arriving.quoted = bytes.first() == Some(&b'"');
            arriving.quotes = 0;
        }
        let (result, taken, written) = self.reader.read_field(bytes, &mut self.text[self.text_end..]);
        let (taken, rest) = bytes.split_at(taken);
        self.text_end += written;
        self.offset += taken.len() as u64;
        arriving.bytes += taken.len();
        if arriving.bytes > self.max_record_bytes {
            return Err(self.max_record_bytes);
        }
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(taken);
        }
        let ended = matches!(result, ReadFieldResult::Field { .. });
        if arriving.quoted {
            arriving.quotes += taken.iter().filter(|byte| **byte == b'"').count();
            // The separator is not part of the field.
            let own = &taken[..taken.len() - usize::from(ended && !taken.is_empty())];
            arriving.last = own.last().copied().unwrap_or(arriving.last);
        }
        if let ReadFieldResult::Field { record_end } = result {
            self.end_field(record_end);
        }
        Ok(rest)
    }

    fn end_field(&mut self, record_end: bool) {
        let arriving = &mut self.arriving;
        arriving.in_field = false;
        arriving.unclosed |= arriving.quoted && (arriving.quotes % 2 == 1 || arriving.last != b'"');
        self.fields.push(Field::new(self.text_end, arriving.quoted));
        if !record_end {
            return;
        }
        let raw_end = self.raw.as_ref().map_or(0, Vec::len);
        self.rows.push(Row {
            fields: arriving.first_field..self.fields.len(),
            end: self.offset - self.start,
            unclosed: arriving.unclosed,
            raw: arriving.raw_start..raw_end,
        });
        *arriving = Arriving { first_field: self.fields.len(), raw_start: raw_end, ..Arriving::default() };
    }

    /// The complete records.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows[self.first..]
    }

    /// Text of a field and whether it was quoted; `None` when it is not UTF-8.
    pub(super) fn field(&self, number: usize) -> Option<(&str, bool)> {
        let (start, field) = (self.start_of(number), self.fields[number]);
        std::str::from_utf8(&self.text[start..field.end()]).ok().map(|text| (text, field.is_quoted()))
    }

    /// Where the text of a field begins, which may be the one that is arriving.
    fn start_of(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |before| self.fields[before].end())
    }

    /// Bytes of a complete record without its line end; empty if they are not kept.
    pub(super) fn raw(&self, row: usize) -> &[u8] {
        let bytes = self.raw.as_deref().map_or(&[][..], |raw| &raw[self.rows()[row].raw.clone()]);
        bytes.strip_suffix(b"\n").or_else(|| bytes.strip_suffix(b"\r")).unwrap_or(bytes)
    }

    /// Drops the first `count` complete records.
    pub(super) fn drop_rows(&mut self, count: usize) {
        let Some(last) = count.checked_sub(1) else { return };
        let end = self.rows()[last].end;
        self.first += count;
        self.start += end;
        for row in &mut self.rows[self.first..] {
            row.end -= end;
        }
        // Memory moves when half of it is of no use any more.
        if self.first * 2 >= self.rows.len() {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let first = self.rows.get(self.first);
        let fields = first.map_or(self.arriving.first_field, |row| row.fields.start);
        let raw = first.map_or(self.arriving.raw_start, |row| row.raw.start);
        let text = self.start_of(fields);
        self.rows.drain(..self.first);
        self.first = 0;
        self.fields.drain(..fields);
        self.text.truncate(self.text_end);
        self.text.drain(..text);
        self.text_end -= text;
        if let Some(bytes) = &mut self.raw {
            bytes.drain(..raw);
        }
        for field in &mut self.fields {
            *field = Field::new(field.end() - text, field.is_quoted());
        }
        for row in &mut self.rows {
            row.fields = row.fields.start - fields..row.fields.end - fields;
            row.raw = row.raw.start - raw..row.raw.end - raw;
        }
        self.arriving.first_field -= fields;
        self.arriving.raw_start -= raw;
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        let records = self.fields.len() * size_of::<Field>() + self.rows.len() * size_of::<Row>();
        self.text_end + self.raw.as_ref().map_or(0, Vec::len) + records
    }
}
