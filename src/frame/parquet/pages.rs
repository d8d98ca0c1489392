//! What the pages of a Parquet file say that they inflate to. The footer says it
//! too, but memory is allocated by the headers of the pages, which stand anywhere in
//! the file: all of them are read before any page is.

use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;

use super::thrift::{Fields, Reader, Shape};

/// What all pages of a file inflate to, together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// Bytes.
    pub(super) inflated: u64,
    /// Values, missing ones too, without those of dictionaries.
    pub(super) values: u64,
    /// Bytes of the longest page whose bytes may be part of any number of values.
    pub(super) longest_shared: u64,
    /// Columns with lengths that are written as differences, by their row groups and
    /// numbers.
    pub(super) differences: Vec<(usize, usize)>,
}

const PAGE: Fields = &[
    (1, Shape::Integer),
    (2, Shape::Integer),
    (3, Shape::Integer),
    (4, Shape::Integer),
    (5, Shape::Struct(&[(1, Shape::Integer), (2, Shape::Integer), (3, Shape::Integer), (4, Shape::Integer)])),
    (6, Shape::Struct(&[])),
    (7, Shape::Struct(&[(1, Shape::Integer), (2, Shape::Integer), (3, Shape::Logical)])),
    (
        8,
        Shape::Struct(&[
            (1, Shape::Integer),
            (2, Shape::Integer),
            (3, Shape::Integer),
            (4, Shape::Integer),
            (5, Shape::Integer),
            (6, Shape::Integer),
            (7, Shape::Logical),
        ]),
    ),
];

/// The number of dictionaries among the kinds of pages.
const DICTIONARY_PAGE: i32 = 2;
/// The numbers of encodings with lengths that are written as differences; values of the
/// second begin as the one before.
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;

impl Pages {
    /// Reads the headers of all pages; `None` when they are not in order.
    pub(super) fn of(file: &[u8], metadata: &ParquetMetaData) -> Option<Self> {
        let mut pages = Self::default();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            for (column, chunk) in group.columns().iter().enumerate() {
                let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let (start, length) = (usize::try_from(start).ok()?, usize::try_from(chunk.compressed_size()).ok()?);
                let mut rest = file.get(start..)?.get(..length)?;
                let mut has_differences = false;
                while !rest.is_empty() {
                    let header;
                    (header, rest) = Header::read(rest)?;
                    pages.add(&header, width(chunk.column_type()))?;
                    has_differences |= header.differs;
                }
                if has_differences {
                    pages.differences.push((number, column));
                }
            }
        }
        Some(pages)
    }

    /// Counts a page of values with at least so many bytes.
    fn add(&mut self, header: &Header, width: u64) -> Option<()> {
        let inflated = u64::try_from(header.inflated?).ok()?;
        self.inflated = self.inflated.checked_add(inflated)?;
        for values in &header.values {
            self.values = self.values.checked_add(u64::try_from(*values).ok()?)?;
        }
        let is_dictionary = header.kind? == DICTIONARY_PAGE;
        // Room is made for all of them before they are read.
        let entries = u64::try_from(header.entries).ok()?;
        if is_dictionary && entries.checked_mul(width)? > inflated {
            return None;
        }
        if is_dictionary || header.shares {
            self.longest_shared = self.longest_shared.max(inflated);
        }
        Some(())
    }
}

/// Bytes of a value in a dictionary, at least.
fn width(kind: Type) -> u64 {
    match kind {
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
    }
}

/// What counts of the header of a page.
#[derive(Debug, Default)]
struct Header {
    kind: Option<i32>,
    inflated: Option<i32>,
    stored: Option<i32>,
    /// Values of a page of either version: there may be the headers of both, and the
    /// kind decides.
    values: Vec<i32>,
    /// Values of a dictionary.
    entries: i32,
    differs: bool,
    shares: bool,
}

impl Header {
    /// Reads the header at the beginning of the bytes; with it comes what follows its
    /// page.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(bytes);
        let (mut header, mut fits) = (Self::default(), true);
        reader.structure(PAGE, &mut |path, value| {
            let Ok(value) = i32::try_from(value) else {
                // Those of statistics may be longer.
                fits &= path.len() > 1 && !matches!(path, [_, 1..=6]);
                return;
            };
            match path {
                [1] => header.kind = Some(value),
                [2] => header.inflated = Some(value),
                [3] => header.stored = Some(value),
                [5 | 8, 1] => header.values.push(value),
                [7, 1] => header.entries = value,
                [5, 2] | [8, 4] => {
                    header.differs |= matches!(value, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY);
                    header.shares |= value == DELTA_BYTE_ARRAY;
                }
                _ => {}
            }
        })?;
        let rest = reader.rest.get(usize::try_from(header.stored?).ok()?..)?;
        fits.then_some((header, rest))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, Encoding};
    use parquet::file::metadata::ParquetMetaDataReader;
    use parquet::file::properties::{WriterProperties, WriterVersion};

    use super::*;

    fn pages(properties: WriterProperties) -> (Pages, ParquetMetaData) {
        let texts = (0..5000).map(|n| format!("a text, number {}", n % 70)).collect::<Vec<_>>();
        let batch = RecordBatch::try_from_iter([
            (
                "x",
                Arc::new(Float64Array::from_iter((0..5000).map(|n| (n % 3 > 0).then_some(f64::from(n))))) as ArrayRef,
            ),
            ("s", Arc::new(StringArray::from(texts)) as ArrayRef),
        ])
        .expect("a batch");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("written");
        let file = bytes::Bytes::from(writer.into_inner().expect("a file"));
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).expect("a footer");
        (Pages::of(&file, &metadata).expect("headers that are in order"), metadata)
    }

    #[test]
    fn the_sum_of_the_pages_is_what_an_honest_footer_says() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default())] {
                let properties = WriterProperties::builder().set_writer_version(version).set_compression(compression);
                let properties = properties.set_data_page_row_count_limit(1000).set_write_batch_size(100).build();
                let (pages, metadata) = pages(properties);
                let footer: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size()).sum();
                let headers = footer as u64 - pages.inflated;
                assert!(headers < 100 * 14, "{headers} bytes are headers of at most 14 pages");
                assert_eq!(pages.values, 10_000);
                assert!((1000..60_000).contains(&pages.longest_shared), "{pages:?}");
            }
        }
    }

    #[test]
    fn values_that_share_their_beginnings_are_noticed() {
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let (plain, _) = pages(properties.build());
        assert_eq!((plain.longest_shared, plain.differences), (0, vec![]));
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let (shared, _) = pages(properties.set_column_encoding("s".into(), Encoding::DELTA_BYTE_ARRAY).build());
        assert!(shared.longest_shared > 1000, "{shared:?}");
        assert_eq!(shared.differences, [(0, 1)]);
    }

    #[test]
    fn only_headers_in_order_are_read() {
        let of = |bytes: &[u8]| {
            let mut pages = Pages::default();
            let (header, rest) = Header::read(bytes)?;
            pages.add(&header, 4)?;
            Some((pages.inflated, pages.values, rest.len()))
        };
        let data = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x2c, 0x15, 20, 0x15, 0, 0, 0, 9, 9, 9];
        assert_eq!(of(&data), Some((100, 10, 1)), "a page of 2 bytes");
        let with_crc = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x15, 1, 0x1c, 0x15, 20, 0, 0, 9, 9];
        assert_eq!(of(&with_crc), Some((100, 10, 0)));
        let both = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x2c, 0x15, 20, 0x15, 0, 0, 0x3c, 0x15, 0, 0, 0, 9, 9];
        assert_eq!(of(&both), Some((100, 10, 0)), "a second header that says less hides nothing");
        let dictionary = |entries: u8| [0x15, 4, 0x15, 80, 0x15, 4, 0x4c, 0x15, 2 * entries, 0x15, 0, 0, 0, 9, 9];
        assert_eq!(of(&dictionary(10)), Some((40, 0, 0)));
        assert_eq!(of(&dictionary(11)), None, "a dictionary of more values than it has bytes for");
        let long = [0x15, 0, 0x15, 2, 0x15, 0, 0x2c, 0x15, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0x15, 0, 0, 0];
        assert_eq!(of(&long), None, "a number of values that the library cuts");
        let wide = [0x15, 0, 0x15, 2, 0x15, 0, 0x2c, 0x16, 20, 0x15, 0, 0, 0];
        assert_eq!(of(&wide), Some((1, 10, 0)), "numbers of another width are the same bytes");
        let twice = [0x15, 0, 0x15, 2, 0x15, 0, 0x05, 4, 200, 1, 0];
        let negative = [0x15, 0, 0x15, 1, 0x15, 0, 0];
        let list = [0x15, 0, 0x15, 2, 0x15, 0, 0x19, 0, 0];
        let deep = [0x15, 0, 0x15, 2, 0x15, 0, 0x1c, 0x1c, 0x1c, 0x1c, 0x1c, 0, 0, 0, 0, 0, 0];
        let endless = [0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
        for broken in [&twice[..], &negative, &list, &deep, &endless, &data[..8], &data[..15], &[], &[0]] {
            assert_eq!(of(broken), None, "{broken:?}");
        }
    }
}
