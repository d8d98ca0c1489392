//! The shared secret of HS256: too long to be guessed, and never a key file,
//! since a public key as secret would let anyone sign.

use std::path::Path;

use super::{KeyProblem, MAX_FILE_BYTES};
use crate::pem;

/// Fewest bytes: a key as long as the hash (RFC 7518 section 3.2).
const MIN_BYTES: usize = 32;

/// Reads the secret: the file's bytes without the line break that editors add.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, KeyProblem> {
    let mut bytes = pem::read_bounded(path, MAX_FILE_BYTES).map_err(pem::PemError::from)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.windows(10).any(|window| window == b"-----BEGIN") {
        return Err(KeyProblem::PemAsSecret);
    }
    if bytes.len() < MIN_BYTES {
        return Err(KeyProblem::ShortSecret(bytes.len()));
    }
    Ok(bytes)
}
