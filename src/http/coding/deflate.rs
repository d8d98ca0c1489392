//! An answer that goes out in pieces, compressed as one.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Coding, LEVEL};

/// Compresses an answer.
pub(crate) enum Deflater {
    /// Not at all.
    Identity,
    /// RFC 1952
    Gzip(GzEncoder<Vec<u8>>),
    /// RFC 8878
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Deflater {
    /// Nothing yet.
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(LEVEL))),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), LEVEL as i32)?),
        })
    }

    /// What a piece becomes, such that all of it can be inflated at once.
    pub(crate) fn piece(&mut self, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(plain),
            Self::Gzip(encoder) => {
                encoder.write_all(&plain)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&plain)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// What stands at the end.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::admission::Admission;

    #[test]
    fn pieces_inflate_as_one_body() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let mut deflater = Deflater::new(coding).expect("a compressor");
            let mut body = Vec::new();
            for piece in ["one,", "", "two,", "three"] {
                body.extend(deflater.piece(piece.into()).expect("compresses"));
            }
            body.extend(deflater.finish().expect("ends"));
            let mut permit = Admission::new(1, 1 << 20).enter().expect("a place");
            assert_eq!(coding.inflate(&body, 1000, &mut permit).expect("inflates"), b"one,two,three");
        }
    }
}
