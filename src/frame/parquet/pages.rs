//! What the pages of a Parquet file say that they inflate to. The footer says it
//! too, but memory is allocated by the headers of the pages, which stand anywhere in
//! the file: all of them are read before any page is.
//!
//! A header is a struct of Thrift's compact protocol. Only what such a header needs
//! is taken, so that nothing can be read here in another way than by the library.

use parquet::file::metadata::ParquetMetaData;

/// What all pages of a file inflate to, together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// Bytes.
    pub(super) inflated: u64,
    /// Values, missing ones too, without those of dictionaries.
    pub(super) values: u64,
    /// Bytes of the longest page whose bytes may be part of any number of values.
    pub(super) longest_shared: u64,
}

/// Deepest struct within a header; statistics within a data page are the second.
const DEPTH: usize = 4;

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
    pub(super) const STRUCT: u8 = 12;
}

/// The number of dictionaries among the kinds of pages.
const DICTIONARY_PAGE: i32 = 2;
/// The number of the encoding whose values begin as the one before.
const DELTA_BYTE_ARRAY: i32 = 7;

impl Pages {
    /// Reads the headers of all pages; `None` when they are not in order.
    pub(super) fn of(file: &[u8], metadata: &ParquetMetaData) -> Option<Self> {
        let mut pages = Self::default();
        for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let (start, length) = (usize::try_from(start).ok()?, usize::try_from(column.compressed_size()).ok()?);
            let mut rest = file.get(start..)?.get(..length)?;
            while !rest.is_empty() {
                rest = pages.add(rest)?;
            }
        }
        Some(pages)
    }

    /// Counts the page at the beginning of the bytes, and gives what follows it.
    fn add<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let mut reader = Reader { rest: bytes };
        let mut header = Header::default();
        reader.structure(DEPTH, &mut |path, value| match path {
            [1] => header.kind = Some(value),
            [2] => header.inflated = Some(value),
            [3] => header.stored = Some(value),
            // The header of the other version may be there too; the kind decides.
            [5 | 8, 1] => header.values.push(value),
            [5, 2] | [8, 4] => header.shares |= value == DELTA_BYTE_ARRAY,
            _ => {}
        })?;
        let inflated = u64::try_from(header.inflated?).ok()?;
        self.inflated = self.inflated.checked_add(inflated)?;
        for values in header.values {
            self.values = self.values.checked_add(u64::try_from(values).ok()?)?;
        }
        if header.kind? == DICTIONARY_PAGE || header.shares {
            self.longest_shared = self.longest_shared.max(inflated);
        }
        reader.rest.get(usize::try_from(header.stored?).ok()?..)
    }
}

/// What counts of the header of a page.
#[derive(Default)]
struct Header {
    kind: Option<i32>,
    inflated: Option<i32>,
    stored: Option<i32>,
    values: Vec<i32>,
    shares: bool,
}

/// Reads structs of the compact protocol.
struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    /// Reads a struct whose fields stand in the order of their numbers, each once, and
    /// tells the 32-bit integers in it, and one level below, by the numbers that lead
    /// to them.
    fn structure(&mut self, depth: usize, found: &mut dyn FnMut(&[i16], i32)) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            let (step, kind) = (i16::from(head >> 4), head & 0xf);
            let next = if step == 0 { i16::try_from(self.zigzag()?).ok()? } else { number.checked_add(step)? };
            if next <= number {
                return None;
            }
            number = next;
            match kind {
                kind::TRUE | kind::FALSE => {}
                kind::BYTE => self.skip(1)?,
                kind::I32 => found(&[number], i32::try_from(self.zigzag()?).ok()?),
                kind::I16 | kind::I64 => {
                    self.zigzag()?;
                }
                kind::DOUBLE => self.skip(8)?,
                kind::BINARY => {
                    let length = self.varint()?;
                    self.skip(usize::try_from(length).ok()?)?;
                }
                kind::STRUCT => self.structure(depth, &mut |path, value| {
                    if let [below] = path {
                        found(&[number, *below], value);
                    }
                })?,
                // Headers of pages have no lists, sets or maps.
                _ => return None,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
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

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
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
        assert_eq!(plain.longest_shared, 0);
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let (shared, _) = pages(properties.set_column_encoding("s".into(), Encoding::DELTA_BYTE_ARRAY).build());
        assert!(shared.longest_shared > 1000, "{shared:?}");
    }

    #[test]
    fn only_headers_in_order_are_read() {
        let of = |bytes: &[u8]| {
            let mut pages = Pages::default();
            pages.add(bytes).map(|rest| (pages.inflated, pages.values, rest.len()))
        };
        let data = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x2c, 0x15, 20, 0x15, 0, 0, 0, 9, 9, 9];
        assert_eq!(of(&data), Some((100, 10, 1)), "a page of 2 bytes");
        let with_crc = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x15, 1, 0x1c, 0x15, 20, 0, 0, 9, 9];
        assert_eq!(of(&with_crc), Some((100, 10, 0)));
        let both = [0x15, 0, 0x15, 200, 1, 0x15, 4, 0x2c, 0x15, 20, 0x15, 0, 0, 0x3c, 0x15, 0, 0, 0, 9, 9];
        assert_eq!(of(&both), Some((100, 10, 0)), "a second header that says less hides nothing");
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
