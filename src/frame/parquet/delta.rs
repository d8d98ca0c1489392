//! Lengths of texts that are written as differences. Before the library reads a page of
//! them it makes room for as many as the page says, which a few bytes do, and what it
//! can't make room for ends the process: so each page is looked at first.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use super::decode::malformed;
use super::thrift::Reader;
use crate::error::Result;

/// Looks at the pages of columns, which are given by their row groups and numbers.
///
/// # Errors
/// [`Kind::Malformed`](crate::error::Kind::Malformed) when a page says to have more
/// lengths than values.
pub(super) fn check(file: &Bytes, metadata: &ParquetMetaData, columns: &[(usize, usize)]) -> Result<()> {
    let file = Arc::new(file.clone());
    for (group, column) in columns {
        let group = metadata.row_group(*group);
        let column = group.column(*column);
        if column.column_type() != Type::BYTE_ARRAY || column.column_descr().max_rep_level() > 0 {
            continue;
        }
        let rows = usize::try_from(group.num_rows()).map_err(malformed)?;
        let mut pages = SerializedPageReader::new(Arc::clone(&file), column, rows, None).map_err(malformed)?;
        while let Some(page) = pages.get_next_page().map_err(malformed)? {
            lengths(&page, column.column_descr()).ok_or_else(|| malformed("the lengths of its texts are broken"))?;
        }
    }
    Ok(())
}

/// Whether a page has no more lengths than values.
fn lengths(page: &Page, column: &ColumnDescriptor) -> Option<()> {
    let encoding = page.encoding();
    if !matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY) {
        return Some(());
    }
    let levels = match page {
        Page::DataPage { buf, def_level_encoding, .. } if column.max_def_level() > 0 => {
            let length = u32::from_le_bytes(*buf.first_chunk()?);
            (*def_level_encoding == Encoding::RLE).then_some(4_usize.checked_add(usize::try_from(length).ok()?)?)?
        }
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            usize::try_from(def_levels_byte_len.checked_add(*rep_levels_byte_len)?).ok()?
        }
        _ => 0,
    };
    let mut reader = Reader::new(page.buffer().get(levels..)?);
    differences(&mut reader, page.num_values())?;
    if encoding == Encoding::DELTA_BYTE_ARRAY {
        // Of what they share with the text before them; those of the rest follow.
        differences(&mut reader, page.num_values())?;
    }
    Some(())
}

/// Reads over numbers, of which there are at most so many.
fn differences(reader: &mut Reader<'_>, most: u32) -> Option<()> {
    let block = usize::try_from(reader.varint()?).ok()?;
    let parts = usize::try_from(reader.varint()?).ok()?;
    let count = reader.varint()?;
    reader.zigzag()?;
    if count > u64::from(most) || parts == 0 || !block.is_multiple_of(parts) {
        return None;
    }
    let values = block / parts;
    // The first stands in the head.
    let mut missing = usize::try_from(count).ok()?.saturating_sub(1);
    while missing > 0 {
        reader.zigzag()?;
        let (widths, _) = reader.rest.split_at_checked(parts)?;
        reader.skip(parts)?;
        for width in widths.iter().take_while(|_| values > 0) {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(values);
            reader.skip(usize::from(*width).checked_mul(values)? / 8)?;
        }
        if values == 0 {
            return None;
        }
    }
    Some(())
}
