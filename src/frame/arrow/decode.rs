//! Rows from an Arrow stream, batch by batch.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;

use super::batches::{Batches, too_long};
use crate::error::{Error, Result};
use crate::frame::render;
use crate::frame::schema::Schema;
use crate::frame::stream::{Chunk, Decoder, StreamOptions};

/// Most characters of the library's message in an answer.
const MESSAGE_CHARACTERS: usize = 300;

/// Reads rows from an Arrow stream.
pub struct ArrowDecoder {
    options: StreamOptions,
    messages: StreamDecoder,
    /// Bytes since the last batch was complete.
    arriving: usize,
    /// Whether there was any byte.
    seen: bool,
    batches: Batches,
}

impl ArrowDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        let batches = Batches::new(schema, options);
        Self { options, messages: StreamDecoder::new(), arriving: 0, seen: false, batches }
    }
}

impl Decoder for ArrowDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen |= !bytes.is_empty();
        let mut rest = Buffer::from(bytes);
        while !rest.is_empty() {
            let before = rest.len();
            // The library panics on some streams that are broken in the middle. The
            // decoder is not used again after that: an error is final.
            let decode = AssertUnwindSafe(|| self.messages.decode(&mut rest));
            let batch = catch_unwind(decode).map_err(|_| malformed("its buffers don't fit together"))?;
            let batch = batch.map_err(malformed)?;
            self.arriving += before - rest.len();
            let limit = self.options.max_message_bytes;
            if self.arriving > limit {
                return Err(too_long("the Arrow stream has a record batch", limit, "write smaller batches"));
            }
            if !self.batches.has_begun()
                && let Some(schema) = self.messages.schema()
            {
                self.batches.begin(schema)?;
            }
            match batch {
                Some(batch) => self.batches.push(batch, std::mem::take(&mut self.arriving)),
                None if rest.len() == before => {
                    return Err(Error::malformed("the Arrow stream goes on after its end"));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if !self.seen {
            return Err(Error::malformed("the body is empty: an Arrow stream begins with its schema"));
        }
        self.messages.finish().map_err(malformed)?;
        if !self.batches.has_begun() {
            return Err(Error::malformed("the Arrow stream ends before its schema"));
        }
        self.batches.finish();
        Ok(())
    }

    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        self.batches.next_chunk(max_rows)
    }

    fn buffered(&self) -> usize {
        self.arriving + self.batches.bytes()
    }
}

fn malformed(error: impl Display) -> Error {
    let message = render::shortened(&error.to_string(), MESSAGE_CHARACTERS);
    Error::malformed(format!("not an Arrow stream that can be read: {message}"))
}
