//! What the tests of all codecs share: a decoder that is fed in pieces.

use super::stream::{Chunk, Decoder, OnMisfit, StreamOptions};
use crate::error::Result;

/// Options with bounds that no usual test meets.
pub(crate) const STREAM: StreamOptions = StreamOptions {
    max_record_bytes: 1000,
    max_message_bytes: 1 << 20,
    chunk_bytes: 1 << 20,
    on_misfit: OnMisfit::Fail,
    non_finite_strings: false,
};

/// The chunks of a body that comes in these pieces.
pub(crate) fn read(mut decoder: impl Decoder, pieces: &[&[u8]], max_rows: usize) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for piece in pieces {
        decoder.push(piece)?;
        drain(&mut decoder, max_rows, &mut chunks)?;
    }
    decoder.finish()?;
    drain(&mut decoder, max_rows, &mut chunks)?;
    Ok(chunks)
}

fn drain(decoder: &mut dyn Decoder, max_rows: usize, chunks: &mut Vec<Chunk>) -> Result<()> {
    while let Some(chunk) = decoder.next_chunk(max_rows)? {
        chunks.push(chunk);
    }
    Ok(())
}
