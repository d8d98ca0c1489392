//! Arrow arrays into typed columns. Cells go through the same builders as those
//! of every other form: what holds its value in the column's type fits, whatever
//! Arrow type it came in.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, StringArrayType};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;

use super::misfits::Misfits;
use crate::error::{Error, Kind, Result};
use crate::frame::column::{ColumnBuilder, Rejected};
use crate::frame::render;
use crate::frame::schema::ColumnType;
use crate::frame::temporal::{write_date, write_timestamp};

const MILLISECONDS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// Where the cells of an array go.
pub(super) struct Target<'t, 's, 'f> {
    pub(super) column: &'t mut ColumnBuilder<'s>,
    pub(super) misfits: &'t mut Misfits<'f>,
    /// Most bytes of text: dictionaries may name a long one often.
    pub(super) text_bytes: usize,
    /// How many of them were stored, in other columns too.
    pub(super) stored_bytes: &'t mut usize,
}

impl<'s> Target<'_, 's, '_> {
    /// Adds all cells of an array; `false` when its type holds no value of the
    /// column's, in which case none was added.
    pub(super) fn push(&mut self, array: &dyn Array) -> Result<bool> {
        if *array.data_type() == DataType::Null || array.null_count() == array.len() {
            self.cells((0..array.len()).map(|_| None::<f64>), ColumnBuilder::push_double, |_| String::new());
            return Ok(true);
        }
        if !fits(self.column.kind(), array.data_type()) {
            return Ok(false);
        }
        match array.data_type() {
            DataType::Float64 => self.numbers::<Float64Type>(array, |value| value),
            DataType::Float32 => self.numbers::<Float32Type>(array, f64::from),
            DataType::Int8 => self.numbers::<Int8Type>(array, f64::from),
            DataType::Int16 => self.numbers::<Int16Type>(array, f64::from),
            DataType::Int32 => self.numbers::<Int32Type>(array, f64::from),
            DataType::UInt8 => self.numbers::<UInt8Type>(array, f64::from),
            DataType::UInt16 => self.numbers::<UInt16Type>(array, f64::from),
            DataType::UInt32 => self.numbers::<UInt32Type>(array, f64::from),
            DataType::Int64 => self.integers::<Int64Type>(array),
            DataType::UInt64 => self.integers::<UInt64Type>(array),
            DataType::Boolean => self.cells(array.as_boolean().iter(), ColumnBuilder::push_logical, |v| v.to_string()),
            DataType::Utf8 => self.texts(array.as_string::<i32>())?,
            DataType::LargeUtf8 => self.texts(array.as_string::<i64>())?,
            DataType::Utf8View => self.texts(array.as_string_view())?,
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>();
                self.cells(days.iter(), ColumnBuilder::push_date, |days| shown(|out| write_date(days, out)));
            }
            DataType::Date64 => {
                let milliseconds = array.as_primitive::<Date64Type>();
                self.cells(milliseconds.iter(), push_milliseconds_of_date, |value| format!("{value} ms"));
            }
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => self.timestamps::<TimestampSecondType>(array, |s| s.checked_mul(1_000_000)),
                TimeUnit::Millisecond => self.timestamps::<TimestampMillisecondType>(array, |ms| ms.checked_mul(1000)),
                TimeUnit::Microsecond => self.timestamps::<TimestampMicrosecondType>(array, Some),
                // Half up, as fractions of text are rounded.
                TimeUnit::Nanosecond => self.timestamps::<TimestampNanosecondType>(array, |ns| {
                    Some(ns.div_euclid(1000) + i64::from(ns.rem_euclid(1000) >= 500))
                }),
            },
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                // Reading values by the key costs a copy of keys and values, no more.
                self.bound_texts(dictionary)?;
                let values = take(dictionary.values().as_ref(), dictionary.keys(), None).map_err(Error::internal)?;
                return self.push(&values);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn numbers<T: ArrowPrimitiveType>(&mut self, array: &dyn Array, double: impl Fn(T::Native) -> f64)
    where
        T::Native: std::fmt::Display,
    {
        let push = |column: &mut ColumnBuilder<'s>, value| column.push_double(double(value));
        self.cells(array.as_primitive::<T>().iter(), push, |value| value.to_string());
    }

    fn integers<T: ArrowPrimitiveType>(&mut self, array: &dyn Array)
    where
        T::Native: std::fmt::Display + Into<i128>,
    {
        let push = |column: &mut ColumnBuilder<'s>, value: T::Native| column.push_integer(value.into());
        self.cells(array.as_primitive::<T>().iter(), push, |value| value.to_string());
    }

    fn timestamps<T: ArrowTimestampType>(&mut self, array: &dyn Array, microseconds: impl Fn(i64) -> Option<i64>) {
        let push = |column: &mut ColumnBuilder<'s>, value| match microseconds(value) {
            Some(microseconds) => column.push_timestamp(microseconds),
            None => column.push_out_of_range(),
        };
        let show = |value| match microseconds(value) {
            Some(microseconds) => shown(|out| write_timestamp(microseconds, out)),
            None => format!("{value} s"),
        };
        self.cells(array.as_primitive::<T>().iter(), push, show);
    }

    fn texts<'a>(&mut self, array: impl StringArrayType<'a>) -> Result<()> {
        let bytes: usize = array.iter().flatten().map(str::len).sum();
        self.bound(bytes)?;
        if self.stores_text() {
            *self.stored_bytes += bytes;
        }
        self.cells(array.iter(), ColumnBuilder::push_text, render::string);
        Ok(())
    }

    /// A dictionary of few long texts may stand for many bytes.
    fn bound_texts(&self, dictionary: &dyn arrow_array::array::AnyDictionaryArray) -> Result<()> {
        let values = dictionary.values();
        let length = |position: usize| match values.data_type() {
            DataType::Utf8 => values.as_string::<i32>().value(position).len(),
            DataType::LargeUtf8 => values.as_string::<i64>().value(position).len(),
            DataType::Utf8View => values.as_string_view().value(position).len(),
            _ => 0,
        };
        // What stands under a null is no key.
        let valid = |row: &usize| dictionary.is_valid(*row);
        let keys = dictionary.normalized_keys().into_iter().enumerate();
        self.bound(keys.filter(|(row, _)| valid(row)).map(|(_, key)| length(key)).sum())
    }

    /// Levels, dates and such are read from text and not stored as such.
    fn stores_text(&self) -> bool {
        matches!(self.column.kind(), ColumnType::Character | ColumnType::Any)
    }

    fn bound(&self, bytes: usize) -> Result<()> {
        let limit = self.text_bytes;
        let stored = if self.stores_text() { *self.stored_bytes } else { 0 };
        if bytes <= limit.saturating_sub(stored) {
            return Ok(());
        }
        let name = render::quoted(self.column.name());
        let detail =
            format!("with the texts of the column {name} the rows are longer than {limit} bytes; send them in parts");
        Err(Error::new(Kind::TooLarge, detail))
    }

    fn cells<T: Copy>(
        &mut self,
        cells: impl Iterator<Item = Option<T>>,
        push: impl Fn(&mut ColumnBuilder<'s>, T) -> Result<(), Rejected>,
        show: impl Fn(T) -> String,
    ) {
        for cell in cells {
            let row = self.column.len();
            let pushed = match cell {
                Some(value) => push(self.column, value),
                None => self.column.push_null(),
            };
            if let Err(why) = pushed {
                let got = || cell.map_or_else(|| "null".to_owned(), &show);
                self.misfits.add(row, self.column, why, got);
            }
        }
    }
}

/// Whether a column of some kind can hold values of the Arrow type.
pub(in crate::frame) fn is_readable(got: &DataType) -> bool {
    match got {
        DataType::Dictionary(_, values) => is_readable(values),
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Float32
        | DataType::Float64 => true,
        _ => got.is_integer(),
    }
}

/// Whether some value of the Arrow type is one of the column's type.
fn fits(kind: ColumnType, got: &DataType) -> bool {
    match got {
        DataType::Dictionary(_, values) => fits(kind, values),
        DataType::Boolean => matches!(kind, ColumnType::Logical | ColumnType::Any),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            !matches!(kind, ColumnType::Double | ColumnType::Integer | ColumnType::Logical)
        }
        DataType::Date32 | DataType::Date64 => matches!(kind, ColumnType::Date | ColumnType::Any),
        DataType::Timestamp(..) => matches!(kind, ColumnType::Timestamp | ColumnType::Any),
        DataType::Float16 => false,
        _ if got.is_numeric() => matches!(kind, ColumnType::Double | ColumnType::Integer | ColumnType::Any),
        _ => false,
    }
}

fn push_milliseconds_of_date(column: &mut ColumnBuilder<'_>, milliseconds: i64) -> Result<(), Rejected> {
    let days = i32::try_from(milliseconds / MILLISECONDS_PER_DAY).ok();
    match days.filter(|_| milliseconds % MILLISECONDS_PER_DAY == 0) {
        Some(days) => column.push_date(days),
        None => column.push_out_of_range(),
    }
}

fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
