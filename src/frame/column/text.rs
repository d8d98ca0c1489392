//! Cells of forms that have no types, such as CSV: what a text means follows
//! from the column that it is for.

use super::{ColumnBuilder, Rejected, Values};
use crate::frame::number::{self, Number};

/// What R writes for a missing value.
const NA: &str = "NA";

impl ColumnBuilder<'_> {
    /// Adds a cell of which only the text is known, and whether it was `quoted`.
    ///
    /// Unquoted, `NA` is missing in every column. Nothing is the empty string in
    /// a character column or where the empty string is a level, else missing too.
    /// Blanks around values of other columns don't count. Numbers may be quoted.
    pub(crate) fn push_untyped(&mut self, text: &str, quoted: bool) -> Result<(), Rejected> {
        if let Values::Text(_) = self.values {
            let any_text = self.column.levels.is_empty();
            let is_missing = text == NA || (text.is_empty() && !any_text && self.levels.position("").is_none());
            return if is_missing && !quoted { self.push_null() } else { self.push_text(text) };
        }
        let trimmed = if quoted { text } else { text.trim_matches([' ', '\t']) };
        if !quoted && (trimmed == NA || (trimmed.is_empty() && self.levels.position("").is_none())) {
            return self.push_null();
        }
        match &self.values {
            Values::Double(_) | Values::Integer(_) => match number::parse(trimmed) {
                Some(Number::Double(double)) => self.push_double(double),
                Some(Number::Inexact) => self.push_inexact(),
                None => self.reject(Rejected::Type),
            },
            Values::Logical(_) => match trimmed {
                "TRUE" | "true" | "True" | "T" => self.push_logical(true),
                "FALSE" | "false" | "False" | "F" => self.push_logical(false),
                _ => self.reject(Rejected::Type),
            },
            Values::Undecided if quoted => self.push_text(trimmed),
            // A lone T or F is as likely to be a letter.
            Values::Undecided => match (number::parse(trimmed), trimmed) {
                (Some(Number::Double(double)), _) => self.push_double(double),
                (Some(Number::Inexact), _) => self.push_inexact(),
                (None, "TRUE" | "true" | "True") => self.push_logical(true),
                (None, "FALSE" | "false" | "False") => self.push_logical(false),
                (None, _) => self.push_text(text),
            },
            _ => self.push_text(trimmed),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;

    use super::*;
    use crate::frame::schema::{Column, ColumnType};

    fn pushed(kind: ColumnType, cells: &[(&str, bool)]) -> (Vec<Result<(), Rejected>>, arrow_array::ArrayRef) {
        let mut column = Column::new("x", kind);
        if kind.is_factor() {
            column.levels = vec!["low".to_owned(), "NA".to_owned()];
        }
        let mut builder = ColumnBuilder::new(&column, false);
        let results = cells.iter().map(|(text, quoted)| builder.push_untyped(text, *quoted)).collect();
        (results, builder.finish().1)
    }

    #[test]
    fn only_an_unquoted_na_is_missing() {
        let cells = [("NA", false), ("", false), ("NA", true), ("", true)];
        let (results, array) = pushed(ColumnType::Character, &cells);
        assert!(results.iter().all(Result::is_ok));
        let texts: Vec<_> = array.as_string::<i32>().iter().collect();
        assert_eq!(texts, [None, Some(""), Some("NA"), Some("")]);

        let (results, array) = pushed(ColumnType::Double, &cells);
        assert_eq!(results, [Ok(()), Ok(()), Err(Rejected::Type), Err(Rejected::Type)]);
        assert_eq!(array.null_count(), 4);

        let (results, array) = pushed(ColumnType::Factor, &cells);
        assert_eq!(results, [Ok(()), Ok(()), Ok(()), Err(Rejected::Value)]);
        assert_eq!((array.is_null(0), array.is_null(1), array.is_valid(2)), (true, true, true));
    }

    #[test]
    fn numbers_may_have_blanks_and_quotes() {
        let cells = [(" 1.5\t", false), ("2", true), ("1,5", true), ("NaN", false)];
        let (results, array) = pushed(ColumnType::Double, &cells);
        assert_eq!(results, [Ok(()), Ok(()), Err(Rejected::Type), Ok(())]);
        let array = array.as_primitive::<Float64Type>();
        assert_eq!((array.value(0), array.value(1), array.value(3).is_nan()), (1.5, 2.0, true));
    }

    #[test]
    fn the_first_value_decides_where_no_schema_does() {
        for (text, quoted, kind) in [
            ("1", false, ColumnType::Double),
            ("1", true, ColumnType::Character),
            ("true", false, ColumnType::Logical),
            ("T", false, ColumnType::Character),
            ("a", false, ColumnType::Character),
        ] {
            let column = Column::new("x", ColumnType::Any);
            let mut builder = ColumnBuilder::new(&column, false);
            builder.push_untyped("", false).expect("missing");
            assert_eq!(builder.decided(), Some(ColumnType::Any));
            builder.push_untyped(text, quoted).expect("anything goes");
            assert_eq!(builder.decided(), Some(kind), "{text} {quoted}");
        }
    }
}
