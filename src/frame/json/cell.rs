//! One cell: a JSON scalar on its way into a column.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::report::Report;
use crate::frame::column::{ColumnBuilder, Rejected};
use crate::frame::number::is_rounded_integer;
use crate::frame::render;

/// Integers up to here, 2^53, are doubles, every one of them.
const ALL_EXACT: u64 = 1 << 53;
/// From here on, 2^63, serde_json may give integers as the nearest double.
const MAYBE_ROUNDED: f64 = (1_u64 << 63) as f64;

/// Where the next value goes.
pub(super) struct Cell<'t, 's, 'b> {
    pub(super) column: &'t mut ColumnBuilder<'s>,
    pub(super) row: usize,
    pub(super) report: &'t mut Report<'b>,
}

/// A value that goes nowhere.
pub(super) struct Skipped<'t, 'b> {
    pub(super) report: &'t mut Report<'b>,
}

/// What was sent, for the message about it.
enum Got<'v> {
    Null,
    Logical(bool),
    Integer(i128),
    Double(f64),
    Literal(&'v str),
    Text(&'v str),
    Array,
    Object,
}

impl<'b> Cell<'_, '_, 'b> {
    #[inline]
    fn settle<E>(self, result: Result<(), Rejected>, got: Got<'_>) -> Result<(), E> {
        if let Err(why) = result {
            self.misfit(why, &got);
        }
        Ok(())
    }

    #[cold]
    fn misfit(self, why: Rejected, got: &Got<'_>) {
        let Self { column, row, report } = self;
        report.misfit(Some(row), column.name(), || (column.expected(why), got.render(why)));
    }

    /// Reads the value as it is written, to find integers that no double equals.
    #[cold]
    fn deserialize_literal<D: Deserializer<'b>>(self, deserializer: D) -> Result<(), D::Error> {
        let literal = <&'b RawValue>::deserialize(deserializer)?.get();
        if is_rounded_integer(literal) {
            let result = self.column.push_inexact();
            return self.settle(result, Got::Literal(literal));
        }
        serde_json::Deserializer::from_str(literal).deserialize_any(self).map_err(Error::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_, '_, 'de> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.report.compares_digits() {
            return self.deserialize_literal(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let result = self.column.push_null();
        self.settle(result, Got::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let result = self.column.push_logical(value);
        self.settle(result, Got::Logical(value))
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let result = if value <= ALL_EXACT {
            self.column.push_double(value as f64)
        } else {
            self.column.push_integer(i128::from(value))
        };
        self.settle(result, Got::Integer(i128::from(value)))
    }

    #[inline]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let result = if value.unsigned_abs() <= ALL_EXACT {
            self.column.push_double(value as f64)
        } else {
            self.column.push_integer(i128::from(value))
        };
        self.settle(result, Got::Integer(i128::from(value)))
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if value.abs() >= MAYBE_ROUNDED {
            self.report.note_long_number();
        }
        let result = self.column.push_double(value);
        self.settle(result, Got::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let result = self.column.push_text(value);
        self.settle(result, Got::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.report.note_nested_cell();
        let result = self.column.push_nested();
        self.settle(result, Got::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.report.note_nested_cell();
        let result = self.column.push_nested();
        self.settle(result, Got::Object)
    }
}

impl<'de> DeserializeSeed<'de> for Skipped<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let value = <&'de RawValue>::deserialize(deserializer)?;
        if value.get().starts_with(['[', '{']) {
            self.report.note_nested_cell();
        }
        Ok(())
    }
}

impl Got<'_> {
    fn render(&self, why: Rejected) -> String {
        match *self {
            Self::Null => "null".to_owned(),
            Self::Logical(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => serde_json::Value::from(value).to_string(),
            Self::Literal(literal) => render::literal(literal),
            Self::Text(text) if why == Rejected::Type => format!("{} (a string)", render::string(text)),
            Self::Text(text) => render::string(text),
            Self::Array => "an array".to_owned(),
            Self::Object => "an object".to_owned(),
        }
    }
}
