//! Typed builders of columns, shared by every codec: a codec hands over the
//! scalars that it found, and the builder decides by the schema what each one
//! becomes or why it doesn't fit.

mod expected;
mod levels;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder};
use arrow_schema::Field;

use self::levels::LevelIndex;
use super::schema::{Column, ColumnType, UnknownLevel};
use super::temporal;

/// Collects one column. Whatever is pushed adds exactly one cell: a scalar that
/// doesn't fit leaves a null, so that the rows of all columns stay aligned.
pub(crate) struct ColumnBuilder<'s> {
    column: Cow<'s, Column>,
    levels: LevelIndex<'s>,
    values: Values,
    validity: NullBufferBuilder,
    non_finite_text: bool,
}

/// Why a scalar doesn't fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Null where the schema wants a value.
    Null,
    /// A scalar of another kind, for example a string for a number.
    Type,
    /// The right kind with a value that is not allowed.
    Value,
    /// An integer that a double can't hold exactly.
    Inexact,
}

/// Values so far, in the memory layout of the column's Arrow type.
enum Values {
    /// Nothing but nulls in a column that takes its type from its data.
    Undecided,
    Double(Vec<f64>),
    Integer(Vec<i32>),
    Logical(BooleanBufferBuilder),
    Text(StringBuilder),
    Level(Vec<i32>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
}

impl<'s> ColumnBuilder<'s> {
    /// An empty column of the schema. `non_finite_text` lets doubles be given
    /// as the strings `NaN`, `Infinity` and `-Infinity`.
    pub(crate) fn new(column: &'s Column, non_finite_text: bool) -> Self {
        Self {
            levels: LevelIndex::new(&column.levels),
            values: Values::new(column.kind, 0),
            column: Cow::Borrowed(column),
            validity: NullBufferBuilder::new(0),
            non_finite_text,
        }
    }

    /// A column that no schema knows and that takes its type from its data,
    /// with `nulls` rows before it was first seen.
    pub(crate) fn passed(name: &str, nulls: usize, non_finite_text: bool) -> Self {
        let mut builder = Self {
            column: Cow::Owned(Column::new(name, ColumnType::Any)),
            levels: LevelIndex::new(&[]),
            values: Values::Undecided,
            validity: NullBufferBuilder::new(0),
            non_finite_text,
        };
        builder.append_nulls(nulls);
        builder
    }

    /// The column's name.
    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    /// The type that its values have so far; factors may be ordered ones.
    pub(crate) fn kind(&self) -> ColumnType {
        match self.values {
            Values::Undecided => ColumnType::Any,
            Values::Double(_) => ColumnType::Double,
            Values::Integer(_) => ColumnType::Integer,
            Values::Logical(_) => ColumnType::Logical,
            Values::Text(_) => ColumnType::Character,
            Values::Level(_) => ColumnType::Factor,
            Values::Date(_) => ColumnType::Date,
            Values::Timestamp(_) => ColumnType::Timestamp,
        }
    }

    /// The type that the data decided on, for a column that no schema types;
    /// [`ColumnType::Any`] as long as there were only nulls.
    pub(crate) fn decided(&self) -> Option<ColumnType> {
        (self.column.kind == ColumnType::Any).then(|| self.kind())
    }

    /// Gives an empty column the type that earlier rows decided on.
    pub(crate) fn decide(&mut self, kind: ColumnType) {
        self.values = Values::new(kind, self.len());
    }

    /// Rows so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.validity.len()
    }

    /// Whether null and absence are allowed.
    pub(crate) fn nullable(&self) -> bool {
        self.column.nullable
    }

    /// Adds a missing value.
    pub(crate) fn push_null(&mut self) -> Result<(), Rejected> {
        self.append_nulls(1);
        if self.column.nullable { Ok(()) } else { Err(Rejected::Null) }
    }

    /// Adds a number.
    #[inline]
    pub(crate) fn push_double(&mut self, value: f64) -> Result<(), Rejected> {
        match &mut self.values {
            Values::Double(values) => values.push(value),
            Values::Integer(values) => match integer_of(value) {
                Some(integer) => values.push(integer),
                None => return self.reject(Rejected::Value),
            },
            Values::Undecided => {
                self.values = Values::new(ColumnType::Double, self.len());
                return self.push_double(value);
            }
            _ => return self.reject(Rejected::Type),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Adds an integer that was written without fraction or exponent.
    #[inline]
    pub(crate) fn push_integer(&mut self, value: i128) -> Result<(), Rejected> {
        let double = value as f64;
        if double as i128 == value { self.push_double(double) } else { self.push_inexact() }
    }

    /// Adds an integer of which is only known that no double equals it.
    pub(crate) fn push_inexact(&mut self) -> Result<(), Rejected> {
        self.reject(match self.values {
            Values::Double(_) | Values::Undecided => Rejected::Inexact,
            Values::Integer(_) => Rejected::Value,
            _ => Rejected::Type,
        })
    }

    /// Adds `true` or `false`.
    pub(crate) fn push_logical(&mut self, value: bool) -> Result<(), Rejected> {
        match &mut self.values {
            Values::Logical(values) => values.append(value),
            Values::Undecided => {
                self.values = Values::new(ColumnType::Logical, self.len());
                return self.push_logical(value);
            }
            _ => return self.reject(Rejected::Type),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Adds a string: text, a level, a date or a timestamp, as the schema says.
    pub(crate) fn push_text(&mut self, text: &str) -> Result<(), Rejected> {
        match &mut self.values {
            Values::Text(values) => {
                if !self.column.levels.is_empty() && self.levels.position(text).is_none() {
                    return self.unknown_level();
                }
                values.append_value(text);
            }
            Values::Level(values) => match self.levels.position(text) {
                Some(level) => values.push(level),
                None => return self.unknown_level(),
            },
            Values::Date(values) => match temporal::parse_date(text) {
                Some(days) => values.push(days),
                None => return self.reject(Rejected::Value),
            },
            Values::Timestamp(values) => match temporal::parse_timestamp(text) {
                Some(microseconds) => values.push(microseconds),
                None => return self.reject(Rejected::Value),
            },
            Values::Double(_) if self.non_finite_text => match text {
                "NaN" => return self.push_double(f64::NAN),
                "Infinity" => return self.push_double(f64::INFINITY),
                "-Infinity" => return self.push_double(f64::NEG_INFINITY),
                _ => return self.reject(Rejected::Type),
            },
            Values::Undecided => {
                self.values = Values::new(ColumnType::Character, self.len());
                return self.push_text(text);
            }
            _ => return self.reject(Rejected::Type),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Adds a date, in days since 1970-01-01.
    pub(crate) fn push_date(&mut self, days: i32) -> Result<(), Rejected> {
        match &mut self.values {
            Values::Date(values) => values.push(days),
            Values::Undecided => {
                self.values = Values::new(ColumnType::Date, self.len());
                return self.push_date(days);
            }
            _ => return self.reject(Rejected::Type),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Adds an instant, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn push_timestamp(&mut self, microseconds: i64) -> Result<(), Rejected> {
        match &mut self.values {
            Values::Timestamp(values) => values.push(microseconds),
            Values::Undecided => {
                self.values = Values::new(ColumnType::Timestamp, self.len());
                return self.push_timestamp(microseconds);
            }
            _ => return self.reject(Rejected::Type),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Adds a value of the right kind that the column's type can't hold.
    pub(crate) fn push_out_of_range(&mut self) -> Result<(), Rejected> {
        self.reject(Rejected::Value)
    }

    /// Adds something that is no scalar, which never fits.
    pub(crate) fn push_nested(&mut self) -> Result<(), Rejected> {
        self.reject(Rejected::Type)
    }

    /// Adds nulls whatever the schema says about them.
    pub(crate) fn append_nulls(&mut self, count: usize) {
        let length = self.len() + count;
        match &mut self.values {
            Values::Undecided => {}
            Values::Double(values) => values.resize(length, 0.0),
            Values::Integer(values) | Values::Level(values) | Values::Date(values) => values.resize(length, 0),
            Values::Logical(values) => values.append_n(count, false),
            Values::Text(values) => values.append_nulls(count),
            Values::Timestamp(values) => values.resize(length, 0),
        }
        self.validity.append_n_nulls(count);
    }

    /// The finished column. One that never had a value to take its type from
    /// is logical, as an R vector of nothing but `NA` is.
    pub(crate) fn finish(self) -> (Field, ArrayRef) {
        let Self { column, values, mut validity, .. } = self;
        let length = validity.len();
        let nulls = validity.finish();
        let array: ArrayRef = match values {
            Values::Undecided => Arc::new(BooleanArray::new_null(length)),
            Values::Double(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Integer(values) => Arc::new(Int32Array::new(values.into(), nulls)),
            Values::Logical(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Text(mut values) => Arc::new(values.finish()),
            Values::Level(values) => {
                let levels = StringArray::from_iter_values(&column.levels);
                let keys = Int32Array::new(values.into(), nulls);
                Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(levels)))
            }
            Values::Date(values) => Arc::new(Date32Array::new(values.into(), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
        };
        let field = column.field().unwrap_or_else(|| Field::new(&column.name, array.data_type().clone(), true));
        (field, array)
    }

    fn unknown_level(&mut self) -> Result<(), Rejected> {
        match self.column.unknown_level {
            UnknownLevel::Error => self.reject(Rejected::Value),
            UnknownLevel::Na => {
                self.append_nulls(1);
                Ok(())
            }
        }
    }

    #[cold]
    fn reject(&mut self, why: Rejected) -> Result<(), Rejected> {
        self.append_nulls(1);
        Err(why)
    }
}

impl Values {
    /// Room for a column of that type which so far has `nulls` nulls.
    fn new(kind: ColumnType, nulls: usize) -> Self {
        match kind {
            ColumnType::Double => Self::Double(vec![0.0; nulls]),
            ColumnType::Integer => Self::Integer(vec![0; nulls]),
            ColumnType::Logical => {
                let mut values = BooleanBufferBuilder::new(nulls);
                values.append_n(nulls, false);
                Self::Logical(values)
            }
            ColumnType::Character => {
                let mut values = StringBuilder::with_capacity(nulls, 0);
                values.append_nulls(nulls);
                Self::Text(values)
            }
            ColumnType::Factor | ColumnType::Ordered => Self::Level(vec![0; nulls]),
            ColumnType::Date => Self::Date(vec![0; nulls]),
            ColumnType::Timestamp => Self::Timestamp(vec![0; nulls]),
            ColumnType::Any => Self::Undecided,
        }
    }
}

/// The R integer equal to a number; `i32::MIN` is none, it is R's `NA`.
fn integer_of(value: f64) -> Option<i32> {
    const MOST: f64 = i32::MAX as f64;
    (value.trunc() == value && (-MOST..=MOST).contains(&value)).then_some(value as i32)
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    #[test]
    fn a_rejected_cell_leaves_a_null_in_its_row() {
        for kind in [
            ColumnType::Double,
            ColumnType::Integer,
            ColumnType::Logical,
            ColumnType::Character,
            ColumnType::Factor,
            ColumnType::Date,
            ColumnType::Timestamp,
            ColumnType::Any,
        ] {
            let column = Column::new("x", kind);
            let mut builder = ColumnBuilder::new(&column, false);
            builder.push_null().expect("the column is nullable");
            assert_eq!(builder.push_nested(), Err(Rejected::Type), "{kind}");
            let (field, array) = builder.finish();
            assert_eq!((array.len(), array.null_count()), (2, 2), "{kind}");
            assert_eq!(field.data_type(), &kind.data_type().unwrap_or(arrow_schema::DataType::Boolean), "{kind}");
        }
    }

    #[test]
    fn a_passed_column_keeps_the_rows_before_it() {
        let mut builder = ColumnBuilder::passed("x", 2, false);
        builder.push_text("a").expect("the first value decides");
        assert_eq!(builder.push_double(1.0), Err(Rejected::Type));
        let (_, array) = builder.finish();
        let strings: Vec<_> = array.as_string::<i32>().iter().collect();
        assert_eq!(strings, [None, None, Some("a"), None]);
    }

    #[test]
    fn integers_stay_clear_of_the_na_of_r() {
        assert_eq!(integer_of(2_147_483_647.0), Some(i32::MAX));
        assert_eq!(integer_of(-2_147_483_647.0), Some(-i32::MAX));
        for none in [-2_147_483_648.0, 2_147_483_648.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(integer_of(none), None, "{none}");
        }
    }
}
