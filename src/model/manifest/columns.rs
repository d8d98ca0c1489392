//! The column tables of a manifest: `name = "type"`, or a table with type,
//! levels, `nullable` and `unknown_level`.

use toml::Value;

use super::{read_strings, unknown_key};
use crate::frame::schema::{Column, ColumnType, UnknownLevel};

const KEYS: [&str; 4] = ["type", "levels", "nullable", "unknown_level"];

const TYPES: &str = "double, integer, logical, character, factor, ordered, date, timestamp or any";

/// Reads the table of columns at `path`.
pub(super) fn read(path: &str, value: &Value, problems: &mut Vec<String>) -> Option<Vec<Column>> {
    let Some(table) = value.as_table() else {
        problems.push(format!("{path} must be a table of columns, such as  income = \"double\""));
        return None;
    };
    Some(table.iter().filter_map(|(name, value)| read_column(path, name, value, problems)).collect())
}

fn read_column(path: &str, name: &str, value: &Value, problems: &mut Vec<String>) -> Option<Column> {
    let place = format!("{path}.{name}");
    match value {
        Value::String(kind) => {
            let column = Column::new(name, read_type(&place, kind, problems)?);
            // A factor without levels may be refined from the R object.
            Some(column)
        }
        Value::Table(table) => {
            let Some(kind) = table.get("type").and_then(Value::as_str) else {
                let quotes = match table.keys().find(|key| !KEYS.contains(&key.as_str())) {
                    Some(rest) => format!("; a name with a dot in it is written in quotes: \"{name}.{rest}\""),
                    None => String::new(),
                };
                problems.push(format!("{place} needs a type: {TYPES}{quotes}"));
                return None;
            };
            let mut column = Column::new(name, read_type(&place, kind, problems)?);
            for (key, value) in table {
                match key.as_str() {
                    "type" => {}
                    "levels" => column.levels = read_strings(&format!("{place}.levels"), value, problems),
                    "nullable" => match value.as_bool() {
                        Some(nullable) => column.nullable = nullable,
                        None => problems.push(format!("{place}.nullable is true or false, not {value}")),
                    },
                    "unknown_level" => match value.as_str() {
                        Some("error") => column.unknown_level = UnknownLevel::Error,
                        Some("na") => column.unknown_level = UnknownLevel::Na,
                        _ => problems.push(format!("{place}.unknown_level is \"error\" or \"na\", not {value}")),
                    },
                    unknown => problems.push(format!("{place}: {}", unknown_key(unknown, &KEYS))),
                }
            }
            check(&place, &column, problems);
            Some(column)
        }
        other => {
            problems.push(format!("{place} is a type ({TYPES}) or a table with one, not {other}"));
            None
        }
    }
}

fn read_type(place: &str, kind: &str, problems: &mut Vec<String>) -> Option<ColumnType> {
    let parsed = ColumnType::parse(kind);
    if parsed.is_none() {
        problems.push(format!("{place} has the unknown type '{kind}'; types are {TYPES}"));
    }
    parsed
}

fn check(place: &str, column: &Column, problems: &mut Vec<String>) {
    if !column.levels.is_empty() && !column.kind.is_factor() && column.kind != ColumnType::Character {
        problems.push(format!("{place} has levels, which only factor, ordered and character columns take"));
    }
    let mut sorted: Vec<&String> = column.levels.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        problems.push(format!("{place} has the level '{}' twice", pair[0]));
    }
    if column.unknown_level == UnknownLevel::Na && !column.nullable {
        problems.push(format!("{place}: unknown_level = \"na\" needs nullable = true"));
    }
}
