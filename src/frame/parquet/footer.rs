//! The footer of a Parquet file, looked at before the library reads it: groups of
//! columns within each other would take its stack, and lists that say to be long its
//! time.

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::decode::malformed;
use super::groups::{TAIL, footer_length};
use super::thrift::{Fields, Reader, Shape};
use crate::error::{Error, Kind, Result};
use crate::frame::arrow::too_long;

/// How much of the bytes that a file may inflate to its footer may have, for it takes
/// many times as much in memory; and what it may have in any case.
const SHARE: usize = 8;
const SMALL: usize = 64 * 1024;
/// Most groups of columns within each other.
const DEPTH: usize = 64;
/// Most columns and groups of them.
const ELEMENTS: usize = 1 << 16;

const UNION: Shape = Shape::Struct(&[(1, Shape::Struct(&[])), (2, Shape::Struct(&[])), (3, Shape::Struct(&[]))]);
const TIME: Shape = Shape::Struct(&[(1, Shape::Logical), (2, UNION)]);
const NOTHING: Shape = Shape::Struct(&[]);

const LOGICAL_TYPE: Fields = &[
    (1, NOTHING),
    (2, NOTHING),
    (3, NOTHING),
    (4, NOTHING),
    (5, Shape::Struct(&[(1, Shape::Integer), (2, Shape::Integer)])),
    (6, NOTHING),
    (7, TIME),
    (8, TIME),
    (10, Shape::Struct(&[(1, Shape::Byte), (2, Shape::Logical)])),
    (11, NOTHING),
    (12, NOTHING),
    (13, NOTHING),
    (14, NOTHING),
    (15, NOTHING),
    (16, Shape::Struct(&[(1, Shape::Byte)])),
    (17, Shape::Struct(&[(1, Shape::Binary)])),
    (18, Shape::Struct(&[(1, Shape::Binary), (2, Shape::Integer)])),
];

/// The field of an element that tells how many of those after it are in its group.
const CHILDREN: i16 = 5;

const ELEMENT: Fields = &[
    (1, Shape::Integer),
    (2, Shape::Integer),
    (3, Shape::Integer),
    (4, Shape::Binary),
    (CHILDREN, Shape::Integer),
    (6, Shape::Integer),
    (7, Shape::Integer),
    (8, Shape::Integer),
    (9, Shape::Integer),
    (10, Shape::Struct(LOGICAL_TYPE)),
];

const KEY_VALUE: Shape = Shape::Struct(&[(1, Shape::Binary), (2, Shape::Binary)]);

const STATISTICS: Shape = Shape::Struct(&[
    (1, Shape::Binary),
    (2, Shape::Binary),
    (3, Shape::Integer),
    (4, Shape::Integer),
    (5, Shape::Binary),
    (6, Shape::Binary),
    (7, Shape::Logical),
    (8, Shape::Logical),
    (9, Shape::Integer),
]);

const SIZES: Shape =
    Shape::Struct(&[(1, Shape::Integer), (2, Shape::List(&Shape::Integer)), (3, Shape::List(&Shape::Integer))]);

const PLACES: Shape = Shape::Struct(&[
    (
        1,
        Shape::Struct(&[
            (1, Shape::Double),
            (2, Shape::Double),
            (3, Shape::Double),
            (4, Shape::Double),
            (5, Shape::Double),
            (6, Shape::Double),
            (7, Shape::Double),
            (8, Shape::Double),
        ]),
    ),
    (2, Shape::List(&Shape::Integer)),
]);

const COLUMN: Shape = Shape::Struct(&[
    (1, Shape::Integer),
    (2, Shape::List(&Shape::Integer)),
    (3, Shape::List(&Shape::Binary)),
    (4, Shape::Integer),
    (5, Shape::Integer),
    (6, Shape::Integer),
    (7, Shape::Integer),
    (8, Shape::List(&KEY_VALUE)),
    (9, Shape::Integer),
    (10, Shape::Integer),
    (11, Shape::Integer),
    (12, STATISTICS),
    (13, Shape::List(&Shape::Struct(&[(1, Shape::Integer), (2, Shape::Integer), (3, Shape::Integer)]))),
    (14, Shape::Integer),
    (15, Shape::Integer),
    (16, SIZES),
    (17, PLACES),
]);

const CHUNK: Shape = Shape::Struct(&[
    (1, Shape::Binary),
    (2, Shape::Integer),
    (3, COLUMN),
    (4, Shape::Integer),
    (5, Shape::Integer),
    (6, Shape::Integer),
    (7, Shape::Integer),
]);

const ROW_GROUP: Shape = Shape::Struct(&[
    (1, Shape::List(&CHUNK)),
    (2, Shape::Integer),
    (3, Shape::Integer),
    (4, Shape::List(&Shape::Struct(&[(1, Shape::Integer), (2, Shape::Logical), (3, Shape::Logical)]))),
    (5, Shape::Integer),
    (6, Shape::Integer),
    (7, Shape::Integer),
]);

/// The field of the footer that has the columns.
const SCHEMA: i16 = 2;

const FOOTER: Fields = &[
    (1, Shape::Integer),
    (3, Shape::Integer),
    (4, Shape::List(&ROW_GROUP)),
    (5, Shape::List(&KEY_VALUE)),
    (6, Shape::Binary),
    (7, Shape::List(&UNION)),
];

/// Reads the footer of a file that may inflate to `limit` bytes.
///
/// # Errors
/// [`Kind::TooLarge`] when it is too long, and those of [`decode`].
pub(super) fn read(file: &[u8], limit: usize) -> Result<ParquetMetaData> {
    let (rest, tail) = file.split_last_chunk::<TAIL>().ok_or_else(|| malformed("it is too short"))?;
    let length = footer_length(*tail)?;
    let start = usize::try_from(length).ok().and_then(|length| file.len().checked_sub(length));
    let footer = start.and_then(|start| rest.get(start..)).ok_or_else(|| malformed("its footer is not all there"))?;
    let longest = (limit / SHARE).max(SMALL);
    if footer.len() > longest {
        return Err(too_long("the Parquet file has a footer", longest, "write larger row groups"));
    }
    decode(footer)
}

/// Reads a footer without its tail.
///
/// # Errors
/// [`Kind::TooLarge`] when it has too many columns, and [`Kind::Malformed`] when it is
/// none.
pub(super) fn decode(footer: &[u8]) -> Result<ParquetMetaData> {
    let children = check(footer).ok_or_else(|| malformed("its footer is broken"))?;
    if children.len() > ELEMENTS {
        return Err(Error::new(Kind::TooLarge, format!("the Parquet file has more than {ELEMENTS} columns")));
    }
    if !is_shallow(&children) {
        return Err(malformed("its columns are not in order, or too deep within each other"));
    }
    ParquetMetaDataReader::decode_metadata(footer).map_err(malformed)
}

/// Whether all fields have their types; the value is how many of those after it belong
/// to each element of the schema.
fn check(footer: &[u8]) -> Option<Vec<i32>> {
    let mut reader = Reader::new(footer);
    let (mut number, mut schema) = (0, Vec::new());
    while let Some(kind) = reader.field(&mut number)? {
        if number != SCHEMA {
            let known = FOOTER.iter().find(|(known, _)| *known == number);
            reader.value(kind, known.map(|(_, shape)| shape), &mut |_, _| {})?;
            continue;
        }
        if !Reader::is_list(kind) {
            return None;
        }
        for _ in 0..reader.structs()? {
            let mut children = Some(0);
            reader.structure(ELEMENT, &mut |path, value| {
                if path == [CHILDREN] {
                    children = i32::try_from(value).ok();
                }
            })?;
            schema.push(children?);
        }
    }
    Some(schema)
}

/// Whether groups are within each other as far as they may be, and say to have no more
/// in them than there is.
fn is_shallow(children: &[i32]) -> bool {
    let mut open: Vec<i32> = Vec::new();
    for count in children {
        while open.pop_if(|missing| *missing == 0).is_some() {}
        if let Some(missing) = open.last_mut() {
            *missing -= 1;
        }
        if *count > 0 {
            open.push(*count);
        }
        if open.len() > DEPTH || usize::try_from(*count).is_ok_and(|count| count > children.len()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::super::groups::MAGIC;
    use super::*;

    fn honest() -> Vec<u8> {
        let column = Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    /// A file of nothing but that footer.
    fn file(footer: &[u8]) -> Vec<u8> {
        [MAGIC, footer, &(footer.len() as u32).to_le_bytes(), MAGIC].concat()
    }

    /// A footer whose schema is these elements, and what follows it.
    fn footer(elements: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 2, 0x19, 0xfc];
        varint(elements.len() as u64, &mut bytes);
        bytes.extend(elements.concat());
        bytes.extend_from_slice(rest);
        bytes.push(0);
        bytes
    }

    fn group(children: u32) -> Vec<u8> {
        let mut bytes = vec![0x35, 0, 0x18, 1, b'g', 0x15];
        varint(u64::from(children) << 1, &mut bytes);
        bytes.push(0);
        bytes
    }

    fn leaf() -> Vec<u8> {
        vec![0x15, 10, 0x25, 2, 0x18, 1, b'x', 0]
    }

    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    /// No rows, no row groups.
    const EMPTY: &[u8] = &[0x16, 0, 0x19, 0x0c];

    #[track_caller]
    fn refused(file: &[u8], part: &str) {
        let error = read(file, 1 << 26).unwrap_err();
        assert!(error.detail().contains(part), "{error}");
    }

    #[test]
    fn an_honest_footer_is_read() {
        let metadata = read(&honest(), 1 << 20).unwrap();
        assert_eq!((metadata.file_metadata().num_rows(), metadata.num_row_groups()), (2, 1));
        let by_hand = file(&footer(&[group(1), leaf()], EMPTY));
        assert_eq!(read(&by_hand, 1 << 20).unwrap().file_metadata().schema_descr().num_columns(), 1);
    }

    #[test]
    fn groups_within_each_other_do_not_take_the_stack() {
        let nested = |depth: usize| {
            let elements: Vec<_> = (0..depth).map(|_| group(1)).chain([leaf()]).collect();
            file(&footer(&elements, EMPTY))
        };
        assert!(read(&nested(DEPTH), 1 << 20).is_ok());
        refused(&nested(DEPTH + 1), "too deep");
        refused(&nested(50_000), "too deep");
    }

    #[test]
    fn groups_have_no_more_in_them_than_there_is() {
        refused(&file(&footer(&[group(i32::MAX as u32), leaf()], EMPTY)), "not in order");
        let cut = [&[0x35, 0, 0x18, 1, b'g', 0x15][..], &[0x81, 0x80, 0x80, 0x80, 0x20], &[0]].concat();
        refused(&file(&footer(&[cut, leaf()], EMPTY)), "footer is broken");
    }

    #[test]
    fn a_schema_is_found_wherever_it_stands() {
        let deep: Vec<_> = (0..50_000).map(|_| group(1)).chain([leaf()]).collect();
        let mut second = vec![0x09, 4, 0xfc];
        varint(deep.len() as u64, &mut second);
        second.extend(deep.concat());
        refused(&file(&footer(&[group(1), leaf()], &[EMPTY, &second].concat())), "footer is broken");
        let disguised = [&[0x15, 2, 0x18, 1, b'x'][..], EMPTY, &[0]].concat();
        refused(&file(&disguised), "footer is broken");
    }

    #[test]
    fn lists_have_a_byte_for_each_element() {
        let lists = [EMPTY, &[0x99, 0xf9, 100], &[0xf1, 0xff, 0xff, 0xff, 0xff, 7].repeat(100)].concat();
        refused(&file(&footer(&[group(1), leaf()], &lists)), "footer is broken");
    }

    #[test]
    fn footers_are_bounded_in_bytes_and_columns() {
        let wide: Vec<_> = [group(70_000)].into_iter().chain((0..70_000).map(|_| leaf())).collect();
        let wide = file(&footer(&wide, EMPTY));
        refused(&wide, "more than 65536 columns");
        let error = read(&wide, 1 << 21).unwrap_err();
        assert_eq!(*error.kind(), Kind::TooLarge);
        assert!(error.detail().contains("footer longer than"), "{error}");
    }

    #[test]
    fn what_is_no_footer_is_malformed() {
        let honest = honest();
        for broken in [&honest[..honest.len() - 1], b"PAR1", b"", b"\xff\xff\xff\xffPAR1"] {
            assert_eq!(*read(broken, 1 << 20).unwrap_err().kind(), Kind::Malformed);
        }
    }
}
