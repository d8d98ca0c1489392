//! A compressed body that comes in pieces, inflated a bounded piece at a time,
//! however much a few bytes stand for.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, Read};
use std::rc::Rc;

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;

use super::{Coding, STEP, ZSTD_WINDOW_LOG};
use crate::error::{Error, Result};

/// Inflates a body.
pub(crate) struct Inflater {
    coding: Coding,
    source: Rc<RefCell<Source>>,
    reader: Box<dyn Read>,
    room: Vec<u8>,
}

/// What came of the bytes so far.
pub(crate) enum Inflated<'a> {
    /// More of the body.
    Bytes(&'a [u8]),
    /// Nothing before more bytes come.
    Waits,
    /// The body is complete.
    End,
}

/// Bytes that arrived and were not read yet.
#[derive(Default)]
struct Source {
    bytes: Bytes,
    ended: bool,
}

/// The end of the decoder where bytes are read.
struct Input {
    shared: Rc<RefCell<Source>>,
    current: Bytes,
}

impl Inflater {
    /// Nothing yet. Pieces have at most `step` bytes, and no more than is good for
    /// anybody.
    pub(crate) fn new(coding: Coding, step: usize) -> Result<Self> {
        let source = Rc::new(RefCell::new(Source::default()));
        let input = Input { shared: Rc::clone(&source), current: Bytes::new() };
        let reader: Box<dyn Read> = match coding {
            Coding::Identity => Box::new(input),
            Coding::Gzip => Box::new(MultiGzDecoder::new(input)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(Error::internal)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Error::internal)?;
                Box::new(decoder)
            }
        };
        Ok(Self { coding, source, reader, room: vec![0; step.clamp(1, STEP)] })
    }

    /// Takes bytes; those before them were read up to [`Inflated::Waits`].
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.source.borrow_mut().bytes = bytes;
    }

    /// There are no more bytes.
    pub(crate) fn end(&mut self) {
        self.source.borrow_mut().ended = true;
    }

    /// The next piece.
    ///
    /// # Errors
    /// [`Malformed`](crate::error::Kind::Malformed) when the body is not what its
    /// coding says or ends early.
    pub(crate) fn next(&mut self) -> Result<Inflated<'_>> {
        match self.reader.read(&mut self.room) {
            Ok(0) => Ok(Inflated::End),
            Ok(length) => Ok(Inflated::Bytes(&self.room[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Inflated::Waits),
            Err(error) => Err(self.coding.malformed(error)),
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() {
            let mut source = self.shared.borrow_mut();
            self.current = std::mem::take(&mut source.bytes);
            if self.current.is_empty() && !source.ended {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, length: usize) {
        self.current.advance(length);
    }
}

impl Read for Input {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(room)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inflates what comes in pieces of that many bytes.
    fn inflated(coding: Coding, body: &[u8], piece: usize) -> Result<Vec<u8>> {
        let mut inflater = Inflater::new(coding, STEP)?;
        let mut out = Vec::new();
        let mut pieces = body.chunks(piece);
        loop {
            match inflater.next()? {
                Inflated::Bytes(bytes) => {
                    assert!(bytes.len() <= STEP);
                    out.extend_from_slice(bytes);
                }
                Inflated::End => return Ok(out),
                Inflated::Waits => match pieces.next() {
                    Some(bytes) => inflater.push(Bytes::copy_from_slice(bytes)),
                    None => inflater.end(),
                },
            }
        }
    }

    #[test]
    fn any_pieces_inflate_to_the_whole() {
        let plain: Vec<u8> = (0..60_000u32).flat_map(|i| i.to_string().into_bytes()).collect();
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let mut two = coding.deflate(plain.clone()).expect("compresses");
            two.extend(coding.deflate(plain.clone()).expect("compresses"));
            for piece in [1, 7, 1000, 1 << 20] {
                assert_eq!(inflated(coding, &two, piece).expect("inflates"), [&plain[..], &plain].concat());
            }
        }
    }

    #[test]
    fn broken_and_cut_bodies_are_malformed() {
        let plain: Vec<u8> = (0..10_000u32).flat_map(|i| i.to_string().into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Zstd] {
            let whole = coding.deflate(plain.clone()).expect("compresses");
            for body in [&whole[..whole.len() - 5], b"[1,2,3]", b"[1,2,3,4,5,6,7,8,9,10,11,12]"] {
                for piece in [1, 1 << 20] {
                    let error = inflated(coding, body, piece).expect_err("broken");
                    assert_eq!(*error.kind(), crate::error::Kind::Malformed, "{coding:?}");
                }
            }
        }
    }
}
