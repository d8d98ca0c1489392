//! Content codings (RFC 9110 section 8.4.1): compressed bodies in both
//! directions, with a bound on what a body inflates to.

mod deflate;
mod inflate;

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

pub(crate) use self::deflate::Deflater;
pub(crate) use self::inflate::{Inflated, Inflater};
use super::admission::Permit;
use super::body;
use crate::error::{Error, Result};

/// The codings, as `Accept-Encoding` says it.
pub(crate) const SUPPORTED: &str = "identity, gzip, zstd";

/// Largest window of a zstd body as a power of two: 8 MiB, the limit for HTTP
/// (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Answers are compressed while a caller waits: speed counts.
const LEVEL: u32 = 1;

/// How much is inflated between two looks at the limits.
const STEP: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952; several members in a row are one body.
    Gzip,
    /// RFC 8878; several frames in a row are one body.
    Zstd,
}

impl Coding {
    /// The coding of that name in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Identity, Self::Gzip, Self::Zstd].into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name()))
    }

    /// Name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Inflates a whole body, to at most `limit` bytes, which count against
    /// `permit` as they come.
    ///
    /// # Errors
    /// [`TooLarge`](crate::error::Kind::TooLarge) over the limit,
    /// [`Malformed`](crate::error::Kind::Malformed) when the body is not what
    /// its coding says or ends early, and the errors of [`Permit::reserve`].
    pub(crate) fn inflate(self, compressed: &[u8], limit: usize, permit: &mut Permit) -> Result<Vec<u8>> {
        let reader: Box<dyn Read + '_> = match self {
            Self::Identity => Box::new(compressed),
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(Error::internal)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Error::internal)?;
                Box::new(decoder)
            }
        };
        // One byte more than allowed tells "at the limit" from "over it".
        let mut reader = reader.take(limit as u64 + 1);
        let mut inflated = Vec::new();
        loop {
            let step =
                reader.by_ref().take(STEP as u64).read_to_end(&mut inflated).map_err(|cause| self.malformed(cause))?;
            if inflated.len() > limit {
                return Err(body::too_large("the body inflates to more than", limit));
            }
            if step == 0 {
                return Ok(inflated);
            }
            permit.reserve(compressed.len() + inflated.len())?;
        }
    }

    fn malformed(self, cause: io::Error) -> Error {
        Error::malformed(format!("the body is not {} as its Content-Encoding says", self.name())).because(cause)
    }

    /// Compresses an answer.
    pub(crate) fn deflate(self, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(plain),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::new(LEVEL));
                encoder.write_all(&plain)?;
                encoder.finish()
            }
            Self::Zstd => zstd::stream::encode_all(plain.as_slice(), LEVEL as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::http::admission::Admission;

    fn inflate(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>> {
        let mut permit = Admission::new(1, 1 << 20).enter().expect("a place");
        coding.inflate(body, limit, &mut permit)
    }

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|i| i.to_string().into_bytes()).collect()
    }

    #[test]
    fn what_was_deflated_inflates_again() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let small = coding.deflate(sample()).expect("compresses");
            assert_eq!(inflate(coding, &small, sample().len()).expect("inflates"), sample(), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let zeros = vec![b' '; 4 << 20];
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bomb = coding.deflate(zeros.clone()).expect("compresses");
            assert!(bomb.len() < 64 * 1024);
            assert_eq!(*inflate(coding, &bomb, zeros.len() - 1).expect_err("over").kind(), Kind::TooLarge);
            assert_eq!(inflate(coding, &bomb, zeros.len()).expect("at the limit").len(), zeros.len());
        }
    }

    #[test]
    fn inflated_bytes_count_against_the_budget_of_all_bodies() {
        let bomb = Coding::Gzip.deflate(vec![b' '; 1 << 20]).expect("compresses");
        let mut permit = Admission::new(1, 1024).enter().expect("a place");
        let error = Coding::Gzip.inflate(&bomb, usize::MAX >> 1, &mut permit).expect_err("over the budget");
        assert!(matches!(error.kind(), Kind::Overloaded { .. }));
    }

    #[test]
    fn broken_and_cut_bodies_are_malformed() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let whole = coding.deflate(sample()).expect("compresses");
            let cut = &whole[..whole.len() - 5];
            for body in [cut, b"[1,2,3]".as_slice()] {
                assert_eq!(*inflate(coding, body, 1 << 24).expect_err("broken").kind(), Kind::Malformed, "{coding:?}");
            }
        }
    }

    #[test]
    fn members_in_a_row_are_one_body() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let mut two = coding.deflate(b"[1,".to_vec()).expect("compresses");
            two.extend(coding.deflate(b"2]".to_vec()).expect("compresses"));
            assert_eq!(inflate(coding, &two, 100).expect("inflates"), b"[1,2]", "{coding:?}");
        }
    }
}
