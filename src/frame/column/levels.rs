//! Looks up levels by name. A request of one row must not pay for a hash table
//! of a thousand levels, and one of a thousand rows must not scan them all.

use std::collections::HashMap;

/// Levels that are scanned however often they are asked for.
const FEW_LEVELS: usize = 8;
/// Scans before a table pays off.
const FEW_SCANS: usize = 8;

/// Position of levels by name.
pub(super) struct LevelIndex<'s> {
    levels: &'s [String],
    scans: usize,
    positions: HashMap<&'s str, i32>,
}

impl<'s> LevelIndex<'s> {
    /// An index of `levels`, whose first entry has position 0.
    pub(super) fn new(levels: &'s [String]) -> Self {
        Self { levels, scans: 0, positions: HashMap::new() }
    }

    /// Position of the first level of that name.
    pub(super) fn position(&mut self, level: &str) -> Option<i32> {
        if self.levels.len() <= FEW_LEVELS || self.scans < FEW_SCANS {
            self.scans += 1;
            return self.levels.iter().zip(0..).find_map(|(known, position)| (known == level).then_some(position));
        }
        if self.positions.is_empty() {
            for (known, position) in self.levels.iter().zip(0..) {
                self.positions.entry(known).or_insert(position);
            }
        }
        self.positions.get(level).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_and_table_agree() {
        let levels: Vec<String> = (0..20).chain([3]).map(|n| format!("level {n}")).collect();
        let mut index = LevelIndex::new(&levels);
        for _ in 0..3 {
            for position in 0..20 {
                assert_eq!(index.position(&format!("level {position}")), Some(position));
            }
            assert_eq!(index.position("level"), None);
        }
    }
}
