//! SHA-256, in hexadecimal and as numbers.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of bytes, hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first eight bytes of the SHA-256 of some text, as a number that is the
/// same on every machine.
pub fn stable_hash(text: &str) -> u64 {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
