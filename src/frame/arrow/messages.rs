//! What the messages of an Arrow stream say of themselves, looked at before the
//! library acts on it: how long they are, how many rows a record batch claims to
//! have, and how much the dictionaries come to that the library keeps.

use std::collections::HashMap;
use std::ops::Range;

use arrow_ipc::{DictionaryBatch, MessageHeader, RecordBatch, root_as_message, root_as_message_with_opts};
use flatbuffers::VerifierOptions;

use super::batches::too_long;
use super::views::{Layout, texts};
use crate::error::{Error, Kind, Result};

/// Begins a message, before the length of its metadata.
pub(in crate::frame) const CONTINUATION: [u8; 4] = [0xff; 4];
/// Rows that a record batch may have whatever its length: those of a column of
/// nothing but nulls, or of no column, take no bytes.
const FREE_ROWS: usize = 16 * 1024;
/// Rows that a byte may stand for beyond that: one bit each.
const ROWS_PER_BYTE: usize = 8;
/// How many times its bytes the parts of a message may come to, each counted as often
/// as it is named, and bytes that they may come to in any case.
const PLACES: usize = 4;
const FREE_BYTES: usize = 64 * 1024;
/// Bytes of dictionaries that may be copied, beyond the longest message, for each
/// byte of the stream: what is added to a dictionary has the library copy it all. As
/// many bytes may be looked through since views name them.
const COPIES_PER_BYTE: u64 = 256;

/// Follows a stream message by message.
pub(super) struct Messages {
    limit: usize,
    part: Part,
    /// Bytes since the last record batch, without those of dictionaries.
    arriving: usize,
    /// Bytes of the dictionaries by their ids, and of the stream so far.
    dictionaries: HashMap<i64, usize>,
    copied: u64,
    seen: u64,
    layout: Layout,
    /// Bytes of texts that views named so far.
    viewed: u64,
}

/// A part of a message that is arriving.
enum Part {
    /// The continuation mark, if any, and the length of the metadata.
    Length {
        bytes: [u8; 4],
        filled: usize,
    },
    Metadata {
        bytes: Vec<u8>,
        length: usize,
    },
    Body {
        missing: usize,
        counts: bool,
        views: Vec<Range<usize>>,
        /// What has come of it, if there are views in it.
        kept: Vec<u8>,
    },
    /// After the end, or after something that the library refuses.
    End,
}

impl Part {
    const START: Self = Self::Length { bytes: [0; 4], filled: 0 };
}

impl Messages {
    /// A stream whose messages, and dictionaries together, have at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            part: Part::START,
            arriving: 0,
            dictionaries: HashMap::new(),
            copied: 0,
            seen: 0,
            layout: Layout::default(),
            viewed: 0,
        }
    }

    /// How many of the bytes, which follow those before them, the library may be
    /// given: they end with a part of a message at the latest.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] for what is over the limit, or has more rows than so many
    /// bytes can stand for; [`Kind::Malformed`] for buffers that overlap.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize> {
        let taken = match &mut self.part {
            Part::Length { bytes: length, filled } => {
                let taken = bytes.len().min(length.len() - *filled);
                length[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
                *filled += taken;
                taken
            }
            Part::Metadata { bytes: metadata, length } => {
                let taken = bytes.len().min(*length - metadata.len());
                metadata.extend_from_slice(&bytes[..taken]);
                taken
            }
            Part::Body { missing, views, kept, .. } => {
                let taken = bytes.len().min(*missing);
                if !views.is_empty() {
                    kept.extend_from_slice(&bytes[..taken]);
                }
                *missing -= taken;
                taken
            }
            Part::End => bytes.len(),
        };
        self.seen += taken as u64;
        if !matches!(self.part, Part::Body { counts: false, .. }) {
            self.arriving += taken;
        }
        self.end_part()?;
        if self.buffered() > self.limit {
            return Err(too_long("the Arrow stream has a record batch", self.limit, "write smaller batches"));
        }
        Ok(taken)
    }

    /// Bytes since the last record batch, and of all dictionaries.
    pub(super) fn buffered(&self) -> usize {
        self.arriving + self.dictionaries.values().sum::<usize>()
    }

    /// A record batch is complete; the bytes that it took.
    pub(super) fn end_batch(&mut self) -> usize {
        std::mem::take(&mut self.arriving)
    }

    /// Goes on to the next part when this one is complete.
    fn end_part(&mut self) -> Result<()> {
        match &mut self.part {
            Part::Length { bytes, filled: 4 } if *bytes == CONTINUATION => self.part = Part::START,
            Part::Length { bytes, filled: 4 } => {
                let length = u32::from_le_bytes(*bytes) as usize;
                self.part = if length == 0 { Part::End } else { Part::Metadata { bytes: Vec::new(), length } };
            }
            Part::Metadata { bytes, length } if bytes.len() == *length => {
                let metadata = std::mem::take(bytes);
                self.part = self.read(&metadata)?;
            }
            Part::Body { missing: 0, views, kept, .. } => {
                self.viewed = self.viewed.saturating_add(texts(kept, views));
                if self.viewed > self.most_work() {
                    let detail = "the views of the Arrow stream name long texts too often; write them as utf8";
                    return Err(Error::new(Kind::TooLarge, detail));
                }
                self.part = Part::START;
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the metadata of a message.
    fn read(&mut self, metadata: &[u8]) -> Result<Part> {
        // What is no message is an error of the library, which knows why.
        let Ok(message) = root_as_message(metadata) else { return Ok(Part::End) };
        if !is_compact(metadata) {
            let detail = "not an Arrow stream that can be read: its schema stands for far more than its bytes";
            return Err(Error::malformed(detail));
        }
        let Ok(missing) = usize::try_from(message.bodyLength()) else { return Ok(Part::End) };
        let (mut counts, mut views) = (true, Some(Vec::new()));
        match message.header_type() {
            MessageHeader::Schema => self.layout = message.header_as_schema().map(Layout::of).unwrap_or_default(),
            MessageHeader::RecordBatch => {
                if let Some(batch) = message.header_as_record_batch() {
                    views = self.layout.views(batch);
                    check(batch, metadata.len().saturating_add(missing), missing)?;
                }
            }
            MessageHeader::DictionaryBatch => {
                if let Some(dictionary) = message.header_as_dictionary_batch() {
                    if let Some(batch) = dictionary.data() {
                        views = Layout::views_of_dictionary(batch);
                        check(batch, metadata.len().saturating_add(missing), missing)?;
                    }
                    self.keep(dictionary, metadata.len().saturating_add(missing))?;
                    self.arriving = self.arriving.saturating_sub(metadata.len());
                    counts = false;
                }
            }
            _ => {}
        }
        if missing > self.limit {
            return Err(too_long("the Arrow stream has a record batch", self.limit, "write smaller batches"));
        }
        let views = views.ok_or_else(|| {
            Error::malformed("not an Arrow stream that is read here: it has views beside nested columns, or in them")
        })?;
        Ok(if missing == 0 { Part::START } else { Part::Body { missing, counts, views, kept: Vec::new() } })
    }

    /// Bytes that the library may copy or look through.
    fn most_work(&self) -> u64 {
        self.seen.saturating_mul(COPIES_PER_BYTE).saturating_add(self.limit as u64)
    }

    /// Counts a dictionary, which stands in the place of the last one with its id or
    /// is added to it.
    fn keep(&mut self, dictionary: DictionaryBatch<'_>, bytes: usize) -> Result<()> {
        let kept = self.dictionaries.entry(dictionary.id()).or_default();
        if dictionary.isDelta() {
            self.copied = self.copied.saturating_add(*kept as u64);
            *kept = kept.saturating_add(bytes);
        } else {
            *kept = bytes;
        }
        if self.copied > self.most_work() {
            let detail = "the Arrow stream adds to long dictionaries too often; write larger batches";
            return Err(Error::new(Kind::TooLarge, detail));
        }
        let sum = self.dictionaries.values().fold(0_usize, |sum, kept| sum.saturating_add(*kept));
        if sum > self.limit {
            return Err(too_long("the Arrow stream has dictionaries", self.limit, "send the rows in several streams"));
        }
        Ok(())
    }
}

/// Whether the parts of a message don't stand in many places at once: the library makes
/// one of each for every place. What is no message is for it to refuse.
pub(in crate::frame) fn is_compact(message: &[u8]) -> bool {
    let max_apparent_size = message.len().saturating_mul(PLACES).saturating_add(FREE_BYTES);
    let options = VerifierOptions { max_apparent_size, ..VerifierOptions::default() };
    root_as_message_with_opts(&options, message).is_ok() || root_as_message(message).is_err()
}

/// Whether rows and buffers of a batch are such as its bytes can hold.
fn check(batch: RecordBatch<'_>, bytes: usize, body: usize) -> Result<()> {
    let most = bytes.saturating_mul(ROWS_PER_BYTE).saturating_add(FREE_ROWS);
    if usize::try_from(batch.length()).is_ok_and(|rows| rows > most) {
        let detail = format!(
            "a record batch of the Arrow stream claims {} rows in {bytes} bytes; give its columns the types of their values",
            batch.length()
        );
        return Err(Error::new(Kind::TooLarge, detail));
    }
    let lengths = batch.buffers().into_iter().flatten().map(|buffer| usize::try_from(buffer.length()).unwrap_or(0));
    if lengths.fold(0_usize, usize::saturating_add) > body {
        return Err(Error::malformed("not an Arrow stream that can be read: its buffers overlap"));
    }
    Ok(())
}
