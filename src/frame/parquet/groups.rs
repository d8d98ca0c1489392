//! Row groups of a Parquet file that is elsewhere: its footer says where they
//! are, and some of them with a footer of their own are a file again.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};

use super::decode::{malformed, unless_panics};
use super::footer;
use crate::error::Result;

/// What a file begins and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Bytes at the end of a file that say how long its footer is.
pub const TAIL: usize = 8;

/// The row groups of one file.
pub struct RowGroups {
    metadata: ParquetMetaData,
}

/// One row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroup {
    /// Its rows.
    pub rows: u64,
    /// Its bytes within the file.
    pub bytes: Range<u64>,
}

/// Bytes of the footer, its tail too.
///
/// # Errors
/// It is not the end of a Parquet file that can be read.
pub fn footer_length(tail: [u8; TAIL]) -> Result<u64> {
    let tail = FooterTail::try_new(&tail).map_err(malformed)?;
    if tail.is_encrypted_footer() {
        return Err(malformed("it is encrypted"));
    }
    Ok((tail.metadata_length() + TAIL) as u64)
}

impl RowGroups {
    /// Reads a footer, which ends with its tail.
    ///
    /// # Errors
    /// It is none.
    pub fn read(footer: &[u8]) -> Result<Self> {
        unless_panics(|| {
            let text = &footer[..footer.len().saturating_sub(TAIL)];
            Ok(Self { metadata: footer::decode(text)? })
        })
    }

    /// All row groups.
    ///
    /// # Errors
    /// The footer says what can't be.
    pub fn all(&self) -> Result<Vec<RowGroup>> {
        self.metadata.row_groups().iter().map(|group| describe(group).map_err(malformed)).collect()
    }

    /// A file of some row groups, of whose bytes the first one stood at `start`.
    ///
    /// # Errors
    /// There are no such row groups, or they are elsewhere.
    pub fn file(&self, numbers: Range<usize>, start: u64, bytes: &[u8]) -> Result<Bytes> {
        let groups = self.metadata.row_groups().get(numbers).ok_or_else(|| malformed("it has fewer row groups"))?;
        let end = start + bytes.len() as u64;
        unless_panics(|| {
            for group in groups {
                let place = describe(group).map_err(malformed)?.bytes;
                if place.start < start || place.end > end {
                    return Err(malformed("its row groups are elsewhere"));
                }
            }
            let mut file = BytesMut::with_capacity(bytes.len() + 64 * 1024);
            file.put_slice(MAGIC);
            file.put_slice(bytes);
            self.write_footer(groups, start, &mut file).map_err(malformed)?;
            Ok(file.freeze())
        })
    }

    fn write_footer(&self, groups: &[RowGroupMetaData], start: u64, file: &mut BytesMut) -> ParquetResult<()> {
        let shift = MAGIC.len() as i64 - signed(start)?;
        let groups = groups.iter().map(|group| moved(group, shift)).collect::<ParquetResult<Vec<_>>>()?;
        let whole = self.metadata.file_metadata().clone();
        let metadata = ParquetMetaDataBuilder::new(whole).set_row_groups(groups).build();
        ParquetMetaDataWriter::new(file.writer(), &metadata).finish()
    }
}

fn describe(group: &RowGroupMetaData) -> ParquetResult<RowGroup> {
    let mut bytes: Option<Range<u64>> = None;
    for column in group.columns() {
        if column.file_path().is_some() {
            return Err(ParquetError::General("a column is in another file".to_owned()));
        }
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let start = unsigned(first)?;
        let end = start.saturating_add(unsigned(column.compressed_size())?);
        bytes = Some(bytes.map_or(start..end, |bytes| bytes.start.min(start)..bytes.end.max(end)));
    }
    Ok(RowGroup { rows: unsigned(group.num_rows())?, bytes: bytes.unwrap_or(0..0) })
}

/// A row group whose bytes are elsewhere, without what is not among them.
fn moved(group: &RowGroupMetaData, shift: i64) -> ParquetResult<RowGroupMetaData> {
    let columns =
        group.columns().iter().map(|column| moved_column(column, shift)).collect::<ParquetResult<Vec<_>>>()?;
    group.clone().into_builder().set_column_metadata(columns).build()
}

fn moved_column(column: &ColumnChunkMetaData, shift: i64) -> ParquetResult<ColumnChunkMetaData> {
    column
        .clone()
        .into_builder()
        .set_data_page_offset(column.data_page_offset() + shift)
        .set_dictionary_page_offset(column.dictionary_page_offset().map(|offset| offset + shift))
        .set_index_page_offset(None)
        .set_bloom_filter_offset(None)
        .set_bloom_filter_length(None)
        .set_offset_index_offset(None)
        .set_offset_index_length(None)
        .set_column_index_offset(None)
        .set_column_index_length(None)
        .build()
}

fn unsigned(number: i64) -> ParquetResult<u64> {
    u64::try_from(number).map_err(|_| ParquetError::General(format!("the footer says {number}")))
}

fn signed(number: u64) -> ParquetResult<i64> {
    i64::try_from(number).map_err(|error| ParquetError::General(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// Five rows in row groups of two, with a dictionary and indexes.
    fn file() -> (RecordBatch, Bytes) {
        let numbers: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-0.0), Some(4e-310), Some(5.0)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("a"), Some("a")]));
        let batch = RecordBatch::try_from_iter_with_nullable([("x", numbers, true), ("s", texts, true)]).unwrap();
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(2)).set_bloom_filter_enabled(true);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        (batch, Bytes::from(writer.into_inner().unwrap()))
    }

    fn read(file: &Bytes) -> RowGroups {
        let tail: [u8; TAIL] = file[file.len() - TAIL..].try_into().unwrap();
        let length = usize::try_from(footer_length(tail).unwrap()).unwrap();
        RowGroups::read(&file[file.len() - length..]).unwrap()
    }

    fn cut(file: &Bytes, range: &Range<u64>) -> Bytes {
        file.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    }

    #[test]
    fn some_row_groups_are_a_file_with_the_same_rows() {
        let (batch, file) = file();
        let groups = read(&file);
        let all = groups.all().unwrap();
        assert_eq!(all.iter().map(|group| group.rows).collect::<Vec<_>>(), [2, 2, 1]);
        for (numbers, rows) in [(0..1, 0..2), (1..2, 2..4), (1..3, 2..5), (2..3, 4..5), (0..3, 0..5)] {
            let place = all[numbers.start].bytes.start..all[numbers.end - 1].bytes.end;
            let part = groups.file(numbers, place.start, &cut(&file, &place)).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(part).unwrap().build().unwrap();
            let parts: Vec<RecordBatch> = reader.map(std::result::Result::unwrap).collect();
            let joined = arrow_select::concat::concat_batches(&batch.schema(), &parts).unwrap();
            assert_eq!(joined, batch.slice(rows.start, rows.len()));
        }
    }

    #[test]
    fn what_is_no_footer_is_refused() {
        let (_, file) = file();
        assert!(footer_length(*b"12345678").is_err());
        assert!(footer_length(*b"\x01\0\0\0PARE").is_err());
        assert!(RowGroups::read(&file[..40]).is_err());
        let groups = read(&file);
        assert!(groups.file(0..4, 4, &file[4..]).is_err(), "there are three");
        assert!(groups.file(0..1, 5, &file[5..]).is_err(), "it begins before");
    }
}
