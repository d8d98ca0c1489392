//! The columns of one input while it is read: those of the schema, and what the
//! body has besides.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema as ArrowSchema;
use serde::de;

use super::DecodeOptions;
use super::names::NameIndex;
use super::render::quoted;
use super::report::Report;
use crate::error::{Error, Result};
use crate::frame::column::{ColumnBuilder, Rejected};
use crate::frame::schema::{Schema, UnknownColumns};

/// Most columns of one input that its schema doesn't have.
pub(super) const UNKNOWN_COLUMNS: usize = 10_000;
/// Most cells of one input that are filled in because rows or columns lack
/// them. Without a bound a small body could ask for any amount of memory: rows
/// and columns cost it a few bytes each, their product costs us.
pub(super) const ABSENT_CELLS: usize = 1 << 24;
/// Ignored columns that a warning names.
const NAMED_COLUMNS: usize = 20;
/// How alike two names must be (Jaro-Winkler) to suggest one for the other.
const ALIKE: f64 = 0.85;

/// One input under construction.
pub(super) struct Table<'s> {
    schema: &'s Schema,
    options: DecodeOptions,
    names: NameIndex<'s>,
    slots: Vec<Slot<'s>>,
    /// Slots that hold a column.
    kept: usize,
    rows: usize,
    absent: usize,
}

/// Where the values of a name go.
#[expect(clippy::large_enum_variant, reason = "most slots are kept; a box would cost each of them")]
pub(super) enum Slot<'s> {
    /// Into a column.
    Kept(ColumnBuilder<'s>),
    /// Nowhere; where the form needs it to find repeated keys and unequal
    /// lengths, rows up to the last that had it are counted.
    Dropped(usize),
}

impl Slot<'_> {
    /// Rows so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kept(column) => column.len(),
            Self::Dropped(rows) => *rows,
        }
    }
}

impl<'s> Table<'s> {
    /// No rows yet.
    pub(super) fn new(schema: &'s Schema, options: DecodeOptions) -> Self {
        let columns = schema.columns.iter();
        Self {
            schema,
            options,
            names: NameIndex::new(columns.clone().map(|column| column.name.as_str())),
            slots: columns.map(|column| Slot::Kept(ColumnBuilder::new(column, options.non_finite_strings))).collect(),
            kept: schema.columns.len(),
            rows: 0,
            absent: 0,
        }
    }

    pub(super) fn schema(&self) -> &'s Schema {
        self.schema
    }

    /// Rows that are complete.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn slot(&mut self, position: usize) -> &mut Slot<'s> {
        &mut self.slots[position]
    }

    pub(super) fn name(&self, position: usize) -> &str {
        self.names.name(position)
    }

    /// Position of the slot for `name`, which came after `place` (see
    /// [`NameIndex::find`]); a name seen for the first time gets a new slot.
    #[inline]
    pub(super) fn position<E: de::Error>(
        &mut self,
        place: usize,
        name: &str,
        report: &mut Report<'_>,
    ) -> Result<usize, E> {
        match self.names.find(place, name) {
            Some(position) => Ok(position),
            None => self.add(place, name, report),
        }
    }

    /// Ends a row of records, in which `filled` of the kept columns had a value.
    #[inline]
    pub(super) fn end_row<E: de::Error>(&mut self, filled: usize, report: &mut Report<'_>) -> Result<(), E> {
        if filled < self.kept {
            self.fill_row(filled, report)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends a row of split; columns that the body lacks are filled at the end.
    #[inline]
    pub(super) fn end_split_row(&mut self) {
        self.rows += 1;
    }

    /// Ends columns or split: every column has `rows` rows, or none when the
    /// body lacks it.
    pub(super) fn end_columns<E: de::Error>(&mut self, rows: usize, report: &mut Report<'_>) -> Result<(), E> {
        for position in 0..self.slots.len() {
            let Slot::Kept(column) = &mut self.slots[position] else { continue };
            if column.len() == rows {
                continue;
            }
            column.append_nulls(rows - column.len());
            if !column.nullable() {
                report.misfit(None, column.name(), || (column.expected(Rejected::Null), "missing".to_owned()));
            }
            self.count_absent(rows, report)?;
        }
        self.rows = rows;
        Ok(())
    }

    /// The columns as a record batch; ignored ones become a warning.
    pub(super) fn finish(self, report: &mut Report<'_>) -> Result<RecordBatch> {
        let (mut fields, mut arrays) = (Vec::with_capacity(self.kept), Vec::with_capacity(self.kept));
        let mut ignored = Vec::new();
        for (position, slot) in self.slots.into_iter().enumerate() {
            match slot {
                Slot::Kept(column) => {
                    let (field, array) = column.finish();
                    fields.push(field);
                    arrays.push(array);
                }
                Slot::Dropped(_) => ignored.push(position),
            }
        }
        if !ignored.is_empty() && self.schema.unknown_columns == UnknownColumns::Ignore {
            let names: Vec<_> =
                ignored.iter().take(NAMED_COLUMNS).map(|position| quoted(self.names.name(*position))).collect();
            let more = match ignored.len().saturating_sub(NAMED_COLUMNS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            report.warn(format!("ignored columns that the model does not take: {}{more}", names.join(", ")));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options).map_err(Error::internal)
    }

    #[cold]
    fn add<E: de::Error>(&mut self, place: usize, name: &str, report: &mut Report<'_>) -> Result<usize, E> {
        if self.slots.len() - self.schema.columns.len() >= UNKNOWN_COLUMNS {
            return Err(report.too_large(format_args!(
                "more than {UNKNOWN_COLUMNS} columns that the model does not know; send fewer"
            )));
        }
        let slot = match self.schema.unknown_columns {
            UnknownColumns::Pass => {
                self.kept += 1;
                self.count_absent(self.rows, report)?;
                Slot::Kept(ColumnBuilder::passed(name, self.rows, self.options.non_finite_strings))
            }
            UnknownColumns::Ignore => Slot::Dropped(0),
            UnknownColumns::Error => {
                report.misfit(None, name, || (self.suggestion(name), "an unknown column".to_owned()));
                Slot::Dropped(0)
            }
        };
        self.slots.push(slot);
        Ok(self.names.add(place, name))
    }

    #[cold]
    fn fill_row<E: de::Error>(&mut self, filled: usize, report: &mut Report<'_>) -> Result<(), E> {
        self.count_absent(self.kept - filled, report)?;
        let row = self.rows;
        for slot in &mut self.slots {
            let Slot::Kept(column) = slot else { continue };
            if column.len() == row
                && let Err(why) = column.push_null()
            {
                report.misfit(Some(row), column.name(), || (column.expected(why), "missing".to_owned()));
            }
        }
        Ok(())
    }

    fn count_absent<E: de::Error>(&mut self, cells: usize, report: &mut Report<'_>) -> Result<(), E> {
        self.absent += cells;
        if self.absent <= ABSENT_CELLS {
            return Ok(());
        }
        Err(report.too_large(format_args!(
            "the rows lack more than {ABSENT_CELLS} values in all; send them in parts, or every column in every row"
        )))
    }

    fn suggestion(&self, name: &str) -> String {
        /// Longer names are not worth the time that comparing them takes.
        const LONGEST: usize = 200;
        let expected = "a column of the schema";
        let nearest = (self.schema.columns.iter())
            .filter(|column| name.len().max(column.name.len()) <= LONGEST)
            .map(|column| (strsim::jaro_winkler(name, &column.name), &column.name))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        match nearest {
            Some((_, nearest)) => format!("{expected} (did you mean {}?)", quoted(nearest)),
            None => expected.to_owned(),
        }
    }
}
