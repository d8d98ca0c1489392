//! The columns of one input while it is read: those of the schema, and what the
//! body has besides.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema as ArrowSchema;
use arrow_select::filter::filter_record_batch;

use super::column::{ColumnBuilder, Rejected};
use super::findings::{Findings, LimitPassed};
use super::names::{NameIndex, START};
use super::render::quoted;
use super::schema::{ColumnType, Schema, UnknownColumns};
use crate::error::{Error, Result};

/// Most columns of one input that its schema doesn't have.
pub(crate) const UNKNOWN_COLUMNS: usize = 10_000;
/// Most cells of one input that are filled in because rows or columns lack
/// them. Without a bound a small body could ask for any amount of memory: rows
/// and columns cost it a few bytes each, their product costs us.
pub(crate) const ABSENT_CELLS: usize = 1 << 24;
/// Ignored columns that a warning names.
const NAMED_COLUMNS: usize = 20;
/// How alike two names must be (Jaro-Winkler) to suggest one for the other.
const ALIKE: f64 = 0.85;

/// One input under construction.
pub(crate) struct Table<'s> {
    schema: &'s Schema,
    non_finite_text: bool,
    names: NameIndex<'s>,
    slots: Vec<Slot<'s>>,
    /// Slots that hold a column.
    kept: usize,
    rows: usize,
    absent: usize,
    /// Rows that are no part of the result.
    rejected: Vec<usize>,
}

/// What the columns that no schema types were found to be, so that the next rows
/// of the same stream are read alike. In the order in which they were seen; a
/// column of nothing but nulls is [`ColumnType::Any`] still.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decided(Vec<(String, ColumnType)>);

/// Where the values of a name go.
#[expect(clippy::large_enum_variant, reason = "most slots are kept; a box would cost each of them")]
pub(crate) enum Slot<'s> {
    /// Into a column.
    Kept(ColumnBuilder<'s>),
    /// Nowhere; where the form needs it to find repeated keys and unequal
    /// lengths, rows up to the last that had it are counted.
    Dropped(usize),
}

impl Slot<'_> {
    /// Rows so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Kept(column) => column.len(),
            Self::Dropped(rows) => *rows,
        }
    }
}

impl<'s> Table<'s> {
    /// No rows yet. `non_finite_text` as for [`ColumnBuilder::new`].
    pub(crate) fn new(schema: &'s Schema, non_finite_text: bool) -> Self {
        let columns = schema.columns.iter();
        Self {
            schema,
            non_finite_text,
            names: NameIndex::new(columns.clone().map(|column| column.name.as_str())),
            slots: columns.map(|column| Slot::Kept(ColumnBuilder::new(column, non_finite_text))).collect(),
            kept: schema.columns.len(),
            rows: 0,
            absent: 0,
            rejected: Vec::new(),
        }
    }

    /// A table for more rows of a stream, whose rows so far gave `decided`.
    pub(crate) fn continuing(schema: &'s Schema, non_finite_text: bool, decided: &Decided) -> Self {
        let mut table = Self::new(schema, non_finite_text);
        for (name, kind) in &decided.0 {
            let position = table.schema.position(name).unwrap_or_else(|| {
                table.kept += 1;
                table.slots.push(Slot::Kept(ColumnBuilder::passed(name, 0, non_finite_text)));
                table.names.add(START, name)
            });
            if let Slot::Kept(column) = &mut table.slots[position] {
                column.decide(*kind);
            }
        }
        table
    }

    /// How many columns there are, dropped ones too.
    pub(crate) fn width(&self) -> usize {
        self.slots.len()
    }

    /// What the rows so far say about the columns that no schema types.
    pub(crate) fn decided(&self) -> Decided {
        let kept = self.slots.iter().filter_map(|slot| match slot {
            Slot::Kept(column) => Some((column.name().to_owned(), column.decided()?)),
            Slot::Dropped(_) => None,
        });
        Decided(kept.collect())
    }

    pub(crate) fn schema(&self) -> &'s Schema {
        self.schema
    }

    /// Rows that are complete.
    #[inline]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn slot(&mut self, position: usize) -> &mut Slot<'s> {
        &mut self.slots[position]
    }

    pub(crate) fn name(&self, position: usize) -> &str {
        self.names.name(position)
    }

    /// Position of the slot for `name`, which came after `place` (see
    /// [`NameIndex::find`]); a name seen for the first time gets a new slot.
    #[inline]
    pub(crate) fn position(&mut self, place: usize, name: &str, findings: &mut Findings) -> Result<usize, LimitPassed> {
        match self.names.find(place, name) {
            Some(position) => Ok(position),
            None => self.add(place, name, findings),
        }
    }

    /// Ends a row of records, in which `filled` of the kept columns had a value.
    #[inline]
    pub(crate) fn end_row(&mut self, filled: usize, findings: &mut Findings) -> Result<(), LimitPassed> {
        if filled < self.kept {
            self.fill_row(filled, findings)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends a row of split; columns that the body lacks are filled at the end.
    #[inline]
    pub(crate) fn end_split_row(&mut self) {
        self.rows += 1;
    }

    /// Ends a row in the middle, because of what was found in it: the columns at
    /// `positions` that it did not reach get a null, and the row is no part of
    /// the result.
    pub(crate) fn abandon_row(&mut self, positions: impl Iterator<Item = usize>) {
        self.rows += 1;
        for position in positions {
            match &mut self.slots[position] {
                Slot::Kept(column) if column.len() < self.rows => column.append_nulls(self.rows - column.len()),
                Slot::Kept(_) => {}
                Slot::Dropped(rows) => *rows = self.rows,
            }
        }
        self.reject_row();
    }

    /// Leaves the row that was ended last out of the result.
    pub(crate) fn reject_row(&mut self) {
        self.reject(self.rows - 1);
    }

    /// Leaves a row out of the result.
    pub(crate) fn reject(&mut self, row: usize) {
        self.rejected.push(row);
    }

    /// Ends columns or split: every column has `rows` rows, or none when the
    /// body lacks it.
    pub(crate) fn end_columns(&mut self, rows: usize, findings: &mut Findings) -> Result<(), LimitPassed> {
        for position in 0..self.slots.len() {
            let Slot::Kept(column) = &mut self.slots[position] else { continue };
            if column.len() == rows {
                continue;
            }
            column.append_nulls(rows - column.len());
            if !column.nullable() {
                findings.misfit(None, column.name(), || (column.expected(Rejected::Null), "missing".to_owned()));
            }
            self.count_absent(rows)?;
        }
        self.rows = rows;
        Ok(())
    }

    /// The columns as a record batch; ignored ones become a warning.
    pub(crate) fn finish(self, findings: &mut Findings) -> Result<RecordBatch> {
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
            findings.warn(format!("ignored columns that the model does not take: {}{more}", names.join(", ")));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
            .map_err(Error::internal)?;
        if self.rejected.is_empty() {
            return Ok(batch);
        }
        let mut keep = vec![true; self.rows];
        for row in self.rejected {
            keep[row] = false;
        }
        filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(Error::internal)
    }

    #[cold]
    fn add(&mut self, place: usize, name: &str, findings: &mut Findings) -> Result<usize, LimitPassed> {
        if self.slots.len() - self.schema.columns.len() >= UNKNOWN_COLUMNS {
            return Err(too_many_columns());
        }
        let slot = match self.schema.unknown_columns {
            UnknownColumns::Pass => {
                self.kept += 1;
                self.count_absent(self.rows)?;
                Slot::Kept(ColumnBuilder::passed(name, self.rows, self.non_finite_text))
            }
            UnknownColumns::Ignore => Slot::Dropped(0),
            UnknownColumns::Error => {
                findings.misfit(None, name, || (self.suggestion(name), "an unknown column".to_owned()));
                Slot::Dropped(0)
            }
        };
        self.slots.push(slot);
        Ok(self.names.add(place, name))
    }

    #[cold]
    fn fill_row(&mut self, filled: usize, findings: &mut Findings) -> Result<(), LimitPassed> {
        self.count_absent(self.kept - filled)?;
        let row = self.rows;
        for slot in &mut self.slots {
            let Slot::Kept(column) = slot else { continue };
            if column.len() == row
                && let Err(why) = column.push_null()
            {
                findings.misfit(Some(row), column.name(), || (column.expected(why), "missing".to_owned()));
            }
        }
        Ok(())
    }

    /// Counts cells for which the input has no bytes.
    ///
    /// # Errors
    /// When there are more than [`ABSENT_CELLS`] of them.
    pub(crate) fn count_absent(&mut self, cells: usize) -> Result<(), LimitPassed> {
        self.absent = self.absent.saturating_add(cells);
        if self.absent <= ABSENT_CELLS {
            return Ok(());
        }
        Err(LimitPassed(format!(
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

/// Checks the names of all columns of an input, before anything is made of them:
/// there may be more of them than any input has.
///
/// # Errors
/// [`Kind::TooLarge`](crate::error::Kind::TooLarge) for more than are taken, and
/// [`Kind::Malformed`](crate::error::Kind::Malformed) when one is there twice; `place`
/// says where.
pub(crate) fn check_names<'n>(
    schema: &Schema,
    place: &str,
    names: impl ExactSizeIterator<Item = &'n str>,
) -> Result<(), Error> {
    if names.len() > schema.columns.len() + UNKNOWN_COLUMNS {
        return Err(too_many_columns().into());
    }
    let mut known = HashSet::with_capacity(names.len());
    for name in names {
        if !known.insert(name) {
            return Err(Error::malformed(format!("{place} has the column {} twice", quoted(name))));
        }
    }
    Ok(())
}

fn too_many_columns() -> LimitPassed {
    LimitPassed(format!("more than {UNKNOWN_COLUMNS} columns that the model does not know; send fewer"))
}

/// What to say of more than `limit` rows.
pub(crate) fn too_many_rows(limit: usize) -> LimitPassed {
    LimitPassed(format!("more than {limit} rows; send them in parts"))
}
