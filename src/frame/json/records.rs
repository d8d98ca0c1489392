//! Records: `[{"x":1,"y":2},…]`, one object per row.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::cell::{Cell, Skipped};
use super::names::START;
use super::render::quoted;
use super::report::Report;
use super::table::{Slot, Table};

/// Reads the rows of an array that has been opened.
pub(super) fn read_records<'de, A: SeqAccess<'de>>(
    table: &mut Table<'_>,
    report: &mut Report<'de>,
    mut seq: A,
) -> Result<(), A::Error> {
    while seq.next_element_seed(Record { table, report })?.is_some() {}
    Ok(())
}

/// One row.
struct Record<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
}

/// The key of a cell; its value is the position of the column.
struct ColumnKey<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
    place: usize,
}

impl<'de> DeserializeSeed<'de> for Record<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let limit = self.report.options().max_rows;
        if self.table.rows() >= limit {
            return Err(self.report.too_large(format_args!("more than {limit} rows; send them in parts")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"row {} as an object {{"column":value,…}}"#, self.table.rows())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { table, report } = self;
        let row = table.rows();
        let (mut place, mut filled) = (START, 0);
        while let Some(position) = map.next_key_seed(ColumnKey { table, report, place })? {
            let slot = table.slot(position);
            if slot.len() > row {
                return Err(Error::custom(format_args!(
                    "row {row} has the key {} twice",
                    quoted(table.name(position))
                )));
            }
            match slot {
                Slot::Kept(column) => {
                    map.next_value_seed(Cell { column, row, report })?;
                    filled += 1;
                }
                Slot::Dropped(rows) => {
                    map.next_value_seed(Skipped { report })?;
                    *rows = row + 1;
                }
            }
            place = position + 1;
        }
        table.end_row(filled, report)
    }
}

impl<'de> DeserializeSeed<'de> for ColumnKey<'_, '_, 'de> {
    type Value = usize;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ColumnKey<'_, '_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column name")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        self.table.position(self.place, name, self.report)
    }
}
