//! The random stream of a partition: a state of R's L'Ecuyer-CMRG generator that
//! follows from the job's seed and the partition's id, so that a partition gives
//! the same numbers whoever scores it, when, and how often.

use aws_lc_rs::digest::{SHA256, digest};

/// The moduli of the generator's two halves (L'Ecuyer, "Good parameters and
/// implementations for combined multiple recursive random number generators",
/// 1999); R's documentation of `RNGkind` has the same.
const MODULI: [u32; 2] = [4_294_967_087, 4_294_944_443];

/// The generator's state: six numbers as `.Random.seed` holds them, that is, with
/// the bits of unsigned ones.
pub fn stream(seed: u64, partition: &str) -> [i32; 6] {
    let mut state = [0u32; 6];
    let mut text = seed.to_le_bytes().to_vec();
    text.extend_from_slice(partition.as_bytes());
    let digest = digest(&SHA256, &text);
    for (index, (number, bytes)) in state.iter_mut().zip(digest.as_ref().chunks_exact(4)).enumerate() {
        let drawn = bytes.iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
        // Neither half may be all zeros.
        *number = (drawn % MODULI[index / 3]).max(1);
    }
    state.map(|number| i32::from_ne_bytes(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn streams_are_valid_repeatable_and_apart() {
        let streams: HashSet<[i32; 6]> = (0..1000).map(|number| stream(42, &format!("p={number}"))).collect();
        assert_eq!(streams.len(), 1000);
        assert_eq!(stream(42, "p=1"), stream(42, "p=1"));
        assert_ne!(stream(42, "p=1"), stream(43, "p=1"));
        for numbers in streams {
            for (index, number) in numbers.into_iter().enumerate() {
                let number = u32::from_ne_bytes(number.to_ne_bytes());
                assert!(number > 0 && number < MODULI[index / 3]);
            }
        }
    }
}
