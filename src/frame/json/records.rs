//! Records: `[{"x":1,"y":2},…]`, one object per row.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::cell::{Cell, Skipped};
use super::report::Report;
use crate::frame::names::START;
use crate::frame::render::quoted;
use crate::frame::table::{Slot, Table, too_many_rows};

/// Reads the rows of an array that has been opened.
pub(super) fn read_records<'de, A: SeqAccess<'de>>(
    table: &mut Table<'_>,
    report: &mut Report<'de>,
    mut seq: A,
) -> Result<(), A::Error> {
    while seq.next_element_seed(Record { table, report })?.is_some() {}
    Ok(())
}

/// Reads one row that is a document of its own.
pub(super) fn read_record<'b>(
    line: &'b str,
    table: &mut Table<'_>,
    report: &mut Report<'b>,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    Record { table, report }.deserialize(&mut deserializer)?;
    deserializer.end()
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
            return Err(self.report.too_large(too_many_rows(limit)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"row {} as an object {{"column":value,…}}"#, self.report.findings.number(self.table.rows()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { table, report } = self;
        let row = table.rows();
        let (mut place, mut filled) = (START, 0);
        while let Some(position) = map.next_key_seed(ColumnKey { table, report, place })? {
            let slot = table.slot(position);
            if slot.len() > row {
                let row = report.findings.number(row);
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
        table.end_row(filled, &mut report.findings).map_err(|limit| report.too_large(limit))
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
        self.table.position(self.place, name, &mut self.report.findings).map_err(|limit| self.report.too_large(limit))
    }
}
