//! Columns: `{"x":[1,…],"y":[2,…]}`, one array per column.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::body::FORMS;
use super::cell::{Cell, Skipped};
use super::key::Key;
use super::report::Report;
use crate::frame::names::START;
use crate::frame::render::{json_name, quoted};
use crate::frame::table::{Slot, Table, too_many_rows};

/// Reads columns. `index` is the value of a key `index` that has been read
/// already, `next` the first key after it.
pub(super) fn read_columns<'de, A: MapAccess<'de>>(
    table: &mut Table<'_>,
    report: &mut Report<'de>,
    index: Option<&'de RawValue>,
    next: Option<Cow<'de, str>>,
    mut map: A,
) -> Result<(), A::Error> {
    let nested_before = report.nested_cells();
    let mut columns = Columns { table, report, seen: Vec::new(), first: None, nested_before };
    if let Some(index) = index {
        let position = columns.open("index")?;
        let mut part = serde_json::Deserializer::from_str(index.get());
        if let Err(error) = columns.values(position).deserialize(&mut part) {
            return Err(columns.report.part_failed(error, index.get()));
        }
        columns.close(position)?;
    }
    let mut next = next;
    while let Some(name) = next {
        let position = columns.open(&name)?;
        map.next_value_seed(columns.values(position))?;
        columns.close(position)?;
        next = map.next_key_seed(Key)?;
    }
    columns.end()
}

/// Columns that have been read.
struct Columns<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
    /// By position.
    seen: Vec<bool>,
    /// Position and length of the first one.
    first: Option<(usize, usize)>,
    /// Arrays and objects that were cells of inputs before this one.
    nested_before: usize,
}

impl<'s, 'b> Columns<'_, 's, 'b> {
    fn open<E: Error>(&mut self, name: &str) -> Result<usize, E> {
        // Columns are few, cells many: no guess at the order is needed.
        let position = self
            .table
            .position(START, name, &mut self.report.findings)
            .map_err(|limit| self.report.too_large(limit))?;
        if position >= self.seen.len() {
            self.seen.resize(position + 1, false);
        }
        if std::mem::replace(&mut self.seen[position], true) {
            return Err(E::custom(format_args!("the column {} is there twice", quoted(name))));
        }
        Ok(position)
    }

    fn values(&mut self, position: usize) -> Values<'_, 's, 'b> {
        Values { table: self.table, report: self.report, position }
    }

    fn close<E: Error>(&mut self, position: usize) -> Result<(), E> {
        let length = self.table.slot(position).len();
        let (first, expected) = *self.first.get_or_insert((position, length));
        if length == expected {
            return Ok(());
        }
        let (name, first) = (quoted(self.table.name(position)), quoted(self.table.name(first)));
        Err(E::custom(format_args!("column {name} has {length} values, column {first} has {expected}")))
    }

    fn end<E: Error>(self) -> Result<(), E> {
        let is_known = |position: &usize| *position < self.table.schema().columns.len();
        let mut positions = (0..self.seen.len()).filter(|position| self.seen[*position]);
        if let (Some(only), None) = (positions.next(), positions.next())
            && !is_known(&only)
            && self.report.nested_cells() > self.nested_before
        {
            // A key of some other convention around a form of ours.
            return Err(E::custom(unknown_wrapper(self.table.name(only))));
        }
        self.table
            .end_columns(self.first.map_or(0, |(_, length)| length), &mut self.report.findings)
            .map_err(|limit| self.report.too_large(limit))
    }
}

/// The values of one column.
struct Values<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
    position: usize,
}

impl Values<'_, '_, '_> {
    fn single_value<E: Error>(&self, got: Unexpected<'_>) -> E {
        E::custom(format_args!(
            "{} holds a single value ({}) where a column is an array: put one row into [ ], as in [{{{}:…}}]",
            quoted(self.table.name(self.position)),
            kind_of(got),
            json_name(self.table.name(self.position)),
        ))
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array with the values of a column")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { table, report, position } = self;
        let limit = report.options().max_rows;
        let slot = table.slot(position);
        loop {
            let row = slot.len();
            let more = match slot {
                Slot::Kept(column) => seq.next_element_seed(Cell { column, row, report })?.is_some(),
                Slot::Dropped(rows) => {
                    let more = seq.next_element_seed(Skipped { report })?.is_some();
                    *rows += usize::from(more);
                    more
                }
            };
            if !more {
                return Ok(());
            }
            if row >= limit {
                return Err(report.too_large(too_many_rows(limit)));
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(Error::custom(unknown_wrapper(self.table.name(self.position))))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.single_value(Unexpected::Unit))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Err(self.single_value(Unexpected::Bool(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        Err(self.single_value(Unexpected::Unsigned(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        Err(self.single_value(Unexpected::Signed(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Err(self.single_value(Unexpected::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        Err(self.single_value(Unexpected::Str(value)))
    }
}

fn kind_of(value: Unexpected<'_>) -> &'static str {
    match value {
        Unexpected::Unit => "null",
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Str(_) => "a string",
        _ => "a number",
    }
}

fn unknown_wrapper(name: &str) -> String {
    format!("{} is no column and no known wrapper: send {FORMS}", quoted(name))
}
