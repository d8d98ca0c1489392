//! Structs of Thrift's compact protocol, of which the footer of a Parquet file and the
//! headers of its pages are made. The library goes by the numbers of fields and not by
//! the types that they say to have; only what has the type that it should have is taken
//! here, so that nothing can be read in another way than by the library.

/// What the values of a field look like.
pub(super) enum Shape {
    /// A whole number of any width, an enumeration too.
    Integer,
    Byte,
    Double,
    Logical,
    Binary,
    Struct(Fields),
    List(&'static Shape),
}

/// The fields of a struct that are known, by their numbers.
pub(super) type Fields = &'static [(i16, Shape)];

/// The numbers of Thrift's types.
mod kind {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCT: u8 = 12;
}

/// Deepest struct or list that is looked into; those of Parquet are half as deep.
const DEPTH: usize = 16;

/// Reads bytes from their beginning. All is `None` that is not as it should be.
pub(super) struct Reader<'b> {
    pub(super) rest: &'b [u8],
    depth: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, depth: DEPTH }
    }

    /// Reads a struct whose fields stand in the order of their numbers, each once, and
    /// tells the whole numbers in it, and in structs one level below, by the numbers of
    /// the fields that lead to them.
    pub(super) fn structure(&mut self, fields: Fields, found: &mut dyn FnMut(&[i16], i64)) -> Option<()> {
        let mut number = 0;
        while let Some(kind) = self.field(&mut number)? {
            let known = fields.iter().find(|(known, _)| *known == number);
            self.value(kind, known.map(|(_, shape)| shape), &mut |path, value| match path {
                [] => found(&[number], value),
                [below] => found(&[number, *below], value),
                _ => {}
            })?;
        }
        Some(())
    }

    /// The type of the next field of a struct, whose number follows that of the last
    /// one; `None` at the end.
    pub(super) fn field(&mut self, number: &mut i16) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let step = i16::from(head >> 4);
        let next = if step == 0 { i16::try_from(self.zigzag()?).ok()? } else { number.checked_add(step)? };
        if next <= *number {
            return None;
        }
        *number = next;
        Some(Some(head & 0xf))
    }

    /// Reads a value that says to be of that type, and is of a shape that is known, or of
    /// none, in which case the library goes by what it says.
    pub(super) fn value(&mut self, kind: u8, shape: Option<&Shape>, found: &mut dyn FnMut(&[i16], i64)) -> Option<()> {
        match (kind, shape) {
            (kind::TRUE | kind::FALSE, None | Some(Shape::Logical)) => Some(()),
            (kind::BYTE, None | Some(Shape::Byte)) => self.skip(1),
            (kind::I16 | kind::I32 | kind::I64, None | Some(Shape::Integer)) => {
                found(&[], self.zigzag()?);
                Some(())
            }
            (kind::DOUBLE, None | Some(Shape::Double)) => self.skip(8),
            (kind::BINARY, None | Some(Shape::Binary)) => {
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)
            }
            (kind::STRUCT, None) => self.below(|reader| reader.structure(&[], found)),
            (kind::STRUCT, Some(Shape::Struct(fields))) => self.below(|reader| reader.structure(fields, found)),
            (kind::LIST, Some(Shape::List(element))) => self.list(Some(element)),
            (kind::LIST | kind::SET, None) => self.list(None),
            _ => None,
        }
    }

    fn list(&mut self, element: Option<&Shape>) -> Option<()> {
        let (kind, length) = self.list_head()?;
        // The library takes them for as many as they say to be, without a byte for each.
        if length > 0 && matches!(kind, kind::TRUE | kind::FALSE) {
            return None;
        }
        self.below(|reader| (0..length).try_for_each(|_| reader.value(kind, element, &mut |_, _| {})))
    }

    /// Whether a type is that of lists.
    pub(super) fn is_list(kind: u8) -> bool {
        kind == kind::LIST
    }

    /// The length of a list of structs.
    pub(super) fn structs(&mut self) -> Option<u64> {
        let (kind, length) = self.list_head()?;
        (kind == kind::STRUCT).then_some(length)
    }

    /// The type of a list's elements and how many there are.
    fn list_head(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Some((head & 0xf, length))
    }

    fn below<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth = self.depth.checked_sub(1)?;
        let value = read(self);
        self.depth += 1;
        value
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Leaves out bytes.
    pub(super) fn skip(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    /// A whole number of at most 63 bits.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// One with a sign.
    pub(super) fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = &[
        (1, Shape::Integer),
        (2, Shape::Struct(&[(1, Shape::Integer), (2, Shape::Logical)])),
        (3, Shape::List(&Shape::Integer)),
        (4, Shape::Byte),
    ];

    fn read(bytes: &[u8]) -> Option<(Vec<i64>, usize)> {
        let (mut reader, mut values) = (Reader::new(bytes), Vec::new());
        reader.structure(FIELDS, &mut |_, value| values.push(value))?;
        Some((values, reader.rest.len()))
    }

    #[test]
    fn only_what_has_its_type_is_read() {
        let whole = [0x15, 1, 0x1c, 0x16, 4, 0x11, 0, 0x19, 0x25, 2, 2, 0x13, 200, 0, 9];
        assert_eq!(read(&whole), Some((vec![-1, 2], 1)));
        assert_eq!(read(&[0x19, 0, 0]), None, "a list for a number");
        assert_eq!(read(&[0x13, 1, 0]), None, "a byte for a number");
        assert_eq!(read(&[0x15, 1, 0x15, 1, 0]), None, "a number for a struct");
        assert_eq!(read(&[0x15, 1, 0x05, 2, 1, 0]), None, "a number twice");
        assert_eq!(read(&[0x39, 0x28, 0, 0, 0]), None, "texts for numbers");
        for length in 0..whole.len() - 1 {
            assert_eq!(read(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn what_is_not_known_is_skipped_as_far_as_every_element_has_a_byte() {
        assert_eq!(read(&[0x95, 6, 0]), Some((vec![3], 0)));
        assert_eq!(read(&[0x99, 0x28, 1, 7, 0, 0]), Some((vec![], 0)), "two texts");
        assert_eq!(read(&[0x99, 0, 0]), Some((vec![], 0)), "an empty list of nothing");
        assert_eq!(read(&[0x99, 0xf1, 0xff, 0xff, 3, 0]), None, "logical values");
        assert_eq!(read(&[0x99, 0xfc, 0xff, 0xff, 3, 0]), None, "more structs than bytes");
        assert_eq!(read(&[0x9b, 1, 0x55, 1, 1, 0]), None, "a map");
        assert_eq!(read(&[&[0x9c][..], &[0x1c; 40], &[0; 60]].concat()), None, "too deep");
    }
}
