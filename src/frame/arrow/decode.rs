//! Rows from an Arrow stream, batch by batch.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;

use super::batches::Batches;
use super::messages::Messages;
use crate::error::{Error, Result};
use crate::frame::render;
use crate::frame::schema::Schema;
use crate::frame::stream::{Chunk, Decoder, StreamOptions};

/// Most characters of the library's message in an answer.
const MESSAGE_CHARACTERS: usize = 300;

/// Reads rows from an Arrow stream.
pub struct ArrowDecoder {
    messages: Messages,
    library: StreamDecoder,
    /// Whether there was any byte.
    seen: bool,
    batches: Batches,
}

impl ArrowDecoder {
    /// A decoder of rows of that schema.
    pub fn new(schema: Arc<Schema>, options: StreamOptions) -> Self {
        let batches = Batches::new(schema, options);
        let messages = Messages::new(options.max_message_bytes);
        Self { messages, library: StreamDecoder::new(), seen: false, batches }
    }

    /// Gives the library bytes that were looked at.
    fn decode(&mut self, mut part: Buffer) -> Result<()> {
        while !part.is_empty() {
            let before = part.len();
            // The library panics on some streams that are broken in the middle. The
            // decoder is not used again after that: an error is final.
            let decode = AssertUnwindSafe(|| self.library.decode(&mut part));
            let batch = catch_unwind(decode).map_err(|_| malformed("its buffers don't fit together"))?;
            match batch.map_err(malformed)? {
                Some(batch) => self.batches.push(batch, self.messages.end_batch()),
                None if part.len() == before => {
                    return Err(Error::malformed("the Arrow stream goes on after its end"));
                }
                None => {}
            }
        }
        Ok(())
    }
}

impl Decoder for ArrowDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen |= !bytes.is_empty();
        let mut rest = Buffer::from(bytes);
        while !rest.is_empty() {
            let length = self.messages.pass(&rest)?;
            self.decode(rest.slice_with_length(0, length))?;
            rest.advance(length);
            if !self.batches.has_begun()
                && let Some(schema) = self.library.schema()
            {
                self.batches.begin(schema)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if !self.seen {
            return Err(Error::malformed("the body is empty: an Arrow stream begins with its schema"));
        }
        self.library.finish().map_err(malformed)?;
        if !self.batches.has_begun() {
            return Err(Error::malformed("the Arrow stream ends before its schema"));
        }
        self.batches.finish();
        Ok(())
    }

    fn next_chunk(&mut self, max_rows: usize) -> Result<Option<Chunk>> {
        self.batches.next_chunk(max_rows)
    }

    fn complete_rows(&self) -> usize {
        self.batches.rows()
    }

    fn buffered(&self) -> usize {
        self.messages.buffered() + self.batches.bytes()
    }
}

fn malformed(error: impl Display) -> Error {
    let message = render::shortened(&error.to_string(), MESSAGE_CHARACTERS);
    Error::malformed(format!("not an Arrow stream that can be read: {message}"))
}
