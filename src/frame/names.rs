//! Finds columns by name. Records repeat their keys in the same order row after
//! row, so the column after the previous one is nearly always the right guess.

use std::borrow::Cow;
use std::collections::HashMap;

/// Names that are scanned rather than looked up in a table.
const FEW_NAMES: usize = 16;

/// Place before the first key of a row.
pub(crate) const START: usize = 0;

/// Position of columns by name.
pub(crate) struct NameIndex<'s> {
    names: Vec<Cow<'s, str>>,
    /// For [`START`] and each column (one further on) the column that came next
    /// when last seen.
    successors: Vec<usize>,
    /// Filled when a guess first fails and there are more than [`FEW_NAMES`].
    positions: HashMap<Cow<'s, str>, usize>,
}

impl<'s> NameIndex<'s> {
    /// An index of names that are expected to come in this order.
    pub(crate) fn new(names: impl Iterator<Item = &'s str>) -> Self {
        let names: Vec<_> = names.map(Cow::Borrowed).collect();
        Self { successors: (0..=names.len()).collect(), names, positions: HashMap::new() }
    }

    /// The name at a position.
    pub(crate) fn name(&self, position: usize) -> &str {
        &self.names[position]
    }

    /// Position of `name` when it came after `place`: [`START`], or one more
    /// than the position of the name before it.
    #[inline]
    pub(crate) fn find(&mut self, place: usize, name: &str) -> Option<usize> {
        let guess = self.successors[place];
        if self.names.get(guess).is_some_and(|known| known == name) {
            return Some(guess);
        }
        let position = self.look_up(name)?;
        self.successors[place] = position;
        Some(position)
    }

    /// Adds a name that was not found after `place`, and gives its position.
    pub(crate) fn add(&mut self, place: usize, name: &str) -> usize {
        let position = self.names.len();
        if !self.positions.is_empty() {
            self.positions.insert(Cow::Owned(name.to_owned()), position);
        }
        self.names.push(Cow::Owned(name.to_owned()));
        self.successors.push(position + 1);
        self.successors[place] = position;
        position
    }

    fn look_up(&mut self, name: &str) -> Option<usize> {
        if self.names.len() <= FEW_NAMES {
            return self.names.iter().position(|known| known == name);
        }
        if self.positions.is_empty() {
            self.positions = self.names.iter().cloned().zip(0..).collect();
        }
        self.positions.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_one_row_is_the_guess_for_the_next() {
        let mut index = NameIndex::new(["a", "b", "c"].into_iter());
        assert_eq!(index.successors, [0, 1, 2, 3]);
        assert_eq!((index.find(START, "c"), index.find(3, "b"), index.find(2, "a")), (Some(2), Some(1), Some(0)));
        // First c; after a b, which has not been seen; after b a; after c b.
        assert_eq!(index.successors, [2, 1, 0, 1]);
    }

    #[test]
    fn any_order_is_found_and_new_names_are_added() {
        for known in [3, 40] {
            let names: Vec<String> = (0..known).map(|n| format!("x{n}")).collect();
            let mut index = NameIndex::new(names.iter().map(String::as_str));
            let mut place = START;
            for _ in 0..2 {
                for position in (0..known).rev() {
                    assert_eq!(index.find(place, &names[position]), Some(position));
                    place = position + 1;
                }
            }
            for extra in 0..40 {
                let name = format!("y{extra}");
                assert_eq!(index.find(place, &name), None);
                assert_eq!(index.add(place, &name), known + extra);
                assert_eq!(index.find(START, &name), Some(known + extra));
                place = known + extra + 1;
            }
            assert_eq!(index.find(place, "x1"), Some(1));
            assert_eq!(index.name(known), "y0");
        }
    }
}
