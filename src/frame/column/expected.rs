//! What a column asks for, in words: the `expected` of a misfit.

use super::{ColumnBuilder, Rejected, Values};
use crate::frame::schema::ColumnType;

/// Levels that a message names.
const NAMED_LEVELS: usize = 10;
/// Most characters of a level in a message.
const LEVEL_CHARACTERS: usize = 40;

impl ColumnBuilder<'_> {
    /// What should have been there instead of a cell that was rejected.
    pub(crate) fn expected(&self, why: Rejected) -> String {
        if why == Rejected::Inexact {
            return "a number that a double holds exactly".to_owned();
        }
        let expected = match &self.values {
            Values::Undecided => "a number, true, false or a string".to_owned(),
            Values::Double(_) => "a number".to_owned(),
            Values::Integer(_) => "an integer from -2147483647 to 2147483647".to_owned(),
            Values::Logical(_) => "true or false".to_owned(),
            Values::Text(_) if self.column.levels.is_empty() => "a string".to_owned(),
            Values::Text(_) | Values::Level(_) => one_of(&self.column.levels),
            Values::Date(_) => "a date as YYYY-MM-DD".to_owned(),
            Values::Timestamp(_) => {
                "a timestamp as YYYY-MM-DDThh:mm:ss with an optional fraction and offset".to_owned()
            }
        };
        let decided_by_data = self.column.kind == ColumnType::Any && !matches!(self.values, Values::Undecided);
        if decided_by_data { format!("{expected}, like the values before it") } else { expected }
    }
}

fn one_of(levels: &[String]) -> String {
    let mut text = String::from("one of ");
    for (position, level) in levels.iter().take(NAMED_LEVELS).enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        text.push('\'');
        text.extend(level.chars().take(LEVEL_CHARACTERS));
        if level.chars().nth(LEVEL_CHARACTERS).is_some() {
            text.push('…');
        }
        text.push('\'');
    }
    match levels.len() {
        0 => "a level, of which the schema has none".to_owned(),
        count if count > NAMED_LEVELS => format!("{text} and {} more levels", count - NAMED_LEVELS),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_levels_are_cut() {
        let levels: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(one_of(&levels), "one of '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 2 more levels");
        assert_eq!(one_of(&["x".repeat(41)]), format!("one of '{}…'", "x".repeat(40)));
        assert_eq!(one_of(&[]), "a level, of which the schema has none");
    }
}
