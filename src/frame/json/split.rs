//! Split: `{"columns":["x","y"],"data":[[1,2],…]}`, one array per row, as pandas
//! writes with `orient="split"`. An `index` beside them is ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::{Cell, Skipped};
use super::key::Key;
use super::report::Report;
use crate::frame::names::START;
use crate::frame::render::quoted;
use crate::frame::table::{Slot, Table, too_many_rows};

/// Reads split, whose first key (or the first after `index`) has been read.
pub(super) fn read_split<'de, A: MapAccess<'de>>(
    table: &mut Table<'_>,
    report: &mut Report<'de>,
    first: Cow<'de, str>,
    mut seen_index: bool,
    mut map: A,
) -> Result<(), A::Error> {
    let mut header: Option<Vec<usize>> = None;
    let mut seen_data = false;
    let mut early_data: Option<&'de RawValue> = None;
    let mut next = Some(first);
    while let Some(key) = next {
        let repeated = match &*key {
            "columns" => header.replace(map.next_value_seed(Header { table, report })?).is_some(),
            "data" => {
                match &header {
                    Some(header) => map.next_value_seed(Rows { table, report, header })?,
                    None => early_data = Some(map.next_value()?),
                }
                std::mem::replace(&mut seen_data, true)
            }
            "index" => {
                map.next_value::<IgnoredAny>()?;
                std::mem::replace(&mut seen_index, true)
            }
            _ => return Err(Error::custom(format_args!("unknown key {} beside 'columns' and 'data'", quoted(&key)))),
        };
        if repeated {
            return Err(Error::custom(format_args!("the key {} is there twice", quoted(&key))));
        }
        next = map.next_key_seed(Key)?;
    }
    let Some(header) = header.filter(|_| seen_data) else {
        let missing = if seen_data { "columns" } else { "data" };
        return Err(Error::custom(format_args!("'columns' and 'data' go together: '{missing}' is missing")));
    };
    if let Some(data) = early_data {
        let mut part = serde_json::Deserializer::from_str(data.get());
        let rows = Rows { table, report, header: &header };
        if let Err(error) = rows.deserialize(&mut part) {
            return Err(report.part_failed(error, data.get()));
        }
    }
    let rows = table.rows();
    table.end_columns(rows, &mut report.findings).map_err(|limit| report.too_large(limit))
}

/// The names of the columns; its value is their positions.
struct Header<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
}

/// All rows.
struct Rows<'t, 's, 'b, 'h> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
    header: &'h [usize],
}

/// One row.
struct Row<'t, 's, 'b, 'h>(Rows<'t, 's, 'b, 'h>);

impl<'de> DeserializeSeed<'de> for Header<'_, '_, 'de> {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<usize>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Header<'_, '_, 'de> {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'columns' as an array of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<usize>, A::Error> {
        let mut header = Vec::new();
        let mut seen: Vec<bool> = Vec::new();
        let mut place = START;
        while let Some(name) = seq.next_element_seed(Key)? {
            let position = self
                .table
                .position(place, &name, &mut self.report.findings)
                .map_err(|limit| self.report.too_large(limit))?;
            if position >= seen.len() {
                seen.resize(position + 1, false);
            }
            if std::mem::replace(&mut seen[position], true) {
                return Err(Error::custom(format_args!("the column {} is there twice", quoted(&name))));
            }
            header.push(position);
            place = position + 1;
        }
        Ok(header)
    }
}

impl<'de> DeserializeSeed<'de> for Rows<'_, '_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'data' as an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { table, report, header } = self;
        while seq.next_element_seed(Row(Rows { table, report, header }))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let limit = self.0.report.options().max_rows;
        if self.0.table.rows() >= limit {
            return Err(self.0.report.too_large(too_many_rows(limit)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} as an array with a value for each of the columns", self.0.table.rows())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Rows { table, report, header } = self.0;
        let row = table.rows();
        let columns = header.len();
        for (count, position) in header.iter().enumerate() {
            let more = match table.slot(*position) {
                Slot::Kept(column) => seq.next_element_seed(Cell { column, row, report })?,
                Slot::Dropped(_) => seq.next_element_seed(Skipped { report })?,
            };
            if more.is_none() {
                return Err(Error::custom(format_args!("row {row} has {count} values for {columns} columns")));
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(Error::custom(format_args!("row {row} has more values than the {columns} columns")));
        }
        table.end_split_row();
        Ok(())
    }
}
