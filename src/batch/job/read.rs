//! Reading tables of a job file: every value that is wrong and every key that
//! nobody asked for becomes a sentence.

use std::time::Duration;

use toml::{Table, Value};

use crate::config::duration;

/// A table with the keys that it may have. Each read takes its key out.
pub(super) struct Reader {
    /// `errors.` and the like; empty at the root.
    prefix: String,
    table: Table,
    known: &'static [&'static str],
    problems: Vec<String>,
}

impl Reader {
    pub(super) fn new(prefix: &str, table: Table, known: &'static [&'static str]) -> Self {
        let mut problems = Vec::new();
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            problems.push(unknown(prefix, key, known));
        }
        Self { prefix: prefix.to_owned(), table, known, problems }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        debug_assert!(self.known.contains(&key), "{key}");
        self.table.remove(key)
    }

    fn expected<T>(&mut self, key: &str, value: &Value, expected: &str) -> Option<T> {
        self.problems.push(format!("{}{key}: got {value}, expected {expected}", self.prefix));
        None
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            other => self.expected(key, &other, "text"),
        }
    }

    pub(super) fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.problems.push(format!("{}{key}: is needed", self.prefix));
            return None;
        }
        self.text(key)
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let texts = value.as_array().and_then(|values| {
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts.or_else(|| self.expected(key, &value, "a list of texts"))
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let chosen = value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
        match chosen {
            Some((_, choice)) => Some(*choice),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.expected(key, &value, &names.join(" or "))
            }
        }
    }

    pub(super) fn whole(&mut self, key: &str, least: u64, most: u64) -> Option<u64> {
        let value = self.take(key)?;
        let whole = value.as_integer().and_then(|whole| u64::try_from(whole).ok());
        match whole {
            Some(whole) if (least..=most).contains(&whole) => Some(whole),
            _ => self.expected(key, &value, &format!("a whole number from {least} to {most}")),
        }
    }

    pub(super) fn number(&mut self, key: &str, least: f64, most: f64) -> Option<f64> {
        let value = self.take(key)?;
        let number = match &value {
            Value::Integer(whole) => Some(*whole as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => self.expected(key, &value, &format!("a number from {least} to {most}")),
        }
    }

    pub(super) fn duration(&mut self, key: &str, least: Duration, most: Duration) -> Option<Duration> {
        let value = self.take(key)?;
        let parsed = value.as_str().and_then(|text| duration::parse(text).ok());
        parsed.filter(|duration| (least..=most).contains(duration)).or_else(|| {
            let (least, most) = (duration::format(least), duration::format(most));
            self.expected(key, &value, &format!("a duration from {least} to {most} as text, such as 30s or 10m"))
        })
    }

    pub(super) fn table(&mut self, key: &str) -> Option<Table> {
        match self.take(key)? {
            Value::Table(table) => Some(table),
            other => self.expected(key, &other, "a table"),
        }
    }

    /// A table within; an empty one when there is none.
    pub(super) fn section(&mut self, key: &str, known: &'static [&'static str]) -> Self {
        let table = self.table(key).unwrap_or_default();
        Self::new(&format!("{}{key}.", self.prefix), table, known)
    }

    /// What was wrong.
    pub(super) fn finish(self) -> Vec<String> {
        self.problems
    }
}

fn unknown(prefix: &str, key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (strsim::osa_distance(key, name), *name)).min();
    match nearest.filter(|(distance, _)| *distance <= 1 + key.len() / 3) {
        Some((_, name)) => format!("{prefix}{key}: there is no such key; did you mean '{prefix}{name}'?"),
        None => format!("{prefix}{key}: there is no such key; known are {}", known.join(", ")),
    }
}
