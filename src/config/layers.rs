//! The sources of settings, each read into the same form: a list of keys with
//! their values and where they came from, every value already checked alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use ::config::{FileFormat, Map, Source, Value, ValueKind};
use serde_json::Value as Json;

use super::environment::Environment;
use super::keys;
use super::problem::{Origin, Problem};
use super::reference;

/// Largest configuration file, in bytes. A file of settings has a few
/// kilobytes; a larger one is a mistyped path.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Values that one source gives; all of them fit their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) entries: Vec<Entry>,
}

/// A value for a key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Json,
    pub(super) origin: Origin,
}

/// A setting that was given as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// The setting's key.
    pub key: &'static str,
    /// The flag with its dashes.
    pub flag: &'static str,
    /// What was given, once for every time that the flag was.
    pub values: Vec<String>,
}

impl Layer {
    /// The settings of a file.
    pub(super) fn from_file(path: &Path, problems: &mut Vec<Problem>) -> Self {
        let origin = Origin::File(path.to_owned());
        let mut layer = Self::default();
        let table = match read_text(path).and_then(|text| parse(&text)) {
            Ok(table) => table,
            Err(message) => {
                problems.push(Problem::source("configuration file", origin, message));
                return layer;
            }
        };
        let sections: BTreeMap<String, Value> = table.into_iter().collect();
        let is_section = |name: &str| keys::defaults().keys().any(|key| key.split('.').next() == Some(name));
        for (section, value) in sections {
            match value.kind {
                ValueKind::Table(entries) => {
                    for (name, value) in entries.into_iter().collect::<BTreeMap<_, _>>() {
                        layer.add(&format!("{section}.{name}"), to_json(value), &origin, problems);
                    }
                }
                _ if is_section(&section) => {
                    let got = to_json(value);
                    problems.push(Problem::value(&section, &origin, &got, &format!("a section '[{section}]'")));
                }
                _ => problems.push(Problem::unknown(&section, &origin, keys::nearest(&section))),
            }
        }
        layer
    }

    /// The settings in the environment.
    pub(super) fn from_environment(environment: &Environment, problems: &mut Vec<Problem>) -> Self {
        let keys_by_name: BTreeMap<String, &str> =
            keys::defaults().keys().map(|key| (keys::environment_name(key), key.as_str())).collect();
        let mut layer = Self::default();
        for (name, text) in environment.settings() {
            let origin = Origin::Environment(name.to_owned());
            match keys_by_name.get(name) {
                Some(key) => {
                    // Lists are separated by commas.
                    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                    let value = from_text(key, text, parts.map(str::to_owned).collect());
                    layer.add(key, value, &origin, problems);
                }
                None => {
                    let nearest = keys::nearest_environment_name(name);
                    problems.push(Problem::unknown(name, &origin, nearest.as_deref()));
                }
            }
        }
        layer
    }

    /// The settings that flags give.
    pub(super) fn from_flags(flags: &[FlagValue], problems: &mut Vec<Problem>) -> Self {
        let mut layer = Self::default();
        for flag in flags {
            // clap refuses a repeated flag that isn't a list.
            let Some(text) = flag.values.last() else { continue };
            let value = from_text(flag.key, text, flag.values.clone());
            layer.add(flag.key, value, &Origin::Flag(flag.flag.to_owned()), problems);
        }
        layer
    }

    /// One built-in value that replaces a default.
    pub(super) fn replacing_default(key: &str, value: impl Into<Json>, origin: Origin) -> Self {
        Self { entries: vec![Entry { key: key.to_owned(), value: value.into(), origin }] }
    }

    /// Adds a value, or reports why it can't be used: each value is read alone
    /// over the defaults, so that every bad one gets its own message.
    fn add(&mut self, key: &str, value: Json, origin: &Origin, problems: &mut Vec<Problem>) {
        if !keys::defaults().contains_key(key) {
            problems.push(Problem::unknown(key, origin, keys::nearest(key)));
        } else if keys::settings_with(key, value.clone()).is_err() {
            problems.push(Problem::value(key, origin, &value, reference::expected(key)));
        } else {
            self.entries.push(Entry { key: key.to_owned(), value, origin: origin.clone() });
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        let value = |entry: &Entry| Value::new(Some(&entry.origin.to_string()), from_json(&entry.value));
        Ok(self.entries.iter().map(|entry| (entry.key.clone(), value(entry))).collect())
    }
}

/// The text of a file, bounded.
fn read_text(path: &Path) -> Result<String, String> {
    let explain = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::InvalidData => "the file is not valid UTF-8".to_owned(),
        _ => format!("the file can't be read: {error}"),
    };
    let mut text = String::new();
    let file = File::open(path).map_err(explain)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(explain)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is larger than {MAX_FILE_BYTES} bytes; is it the right one?"));
    }
    Ok(text)
}

/// Parses TOML. The message has line and column but no text of the file, which
/// may be a key that was named by mistake.
fn parse(text: &str) -> Result<Map<String, Value>, String> {
    ::config::File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
        let ::config::ConfigError::FileParse { cause, .. } = error else {
            return "the file is not valid TOML".to_owned();
        };
        let Some(error) = cause.downcast_ref::<toml::de::Error>() else {
            return format!("the file is not valid TOML: {cause}");
        };
        let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
            return format!("the file is not valid TOML: {}", error.message());
        };
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        format!("the file is not valid TOML: line {line}, column {column}: {}", error.message())
    })
}

/// Text from the environment or a flag, read as the type of the key's default.
/// Text that is not of that type stays text, for the error message.
fn from_text(key: &str, text: &str, parts: Vec<String>) -> Json {
    let as_text = || Json::String(text.to_owned());
    match keys::defaults().get(key) {
        Some(Json::Bool(_)) => text.parse::<bool>().map_or_else(|_| as_text(), Json::Bool),
        // JSON has no numbers that are not finite: they stay text, and are refused.
        Some(Json::Number(number)) if number.is_f64() => {
            let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            number.map_or_else(as_text, Json::Number)
        }
        Some(Json::Number(_)) => text.parse::<u64>().map_or_else(|_| as_text(), Json::from),
        Some(Json::Array(_)) => Json::from(parts),
        _ => as_text(),
    }
}

fn to_json(value: Value) -> Json {
    match value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => Json::Bool(value),
        ValueKind::I64(value) => Json::from(value),
        ValueKind::U64(value) => Json::from(value),
        ValueKind::I128(value) => Json::String(value.to_string()),
        ValueKind::U128(value) => Json::String(value.to_string()),
        ValueKind::Float(value) => match serde_json::Number::from_f64(value) {
            Some(number) => Json::Number(number),
            // JSON has no such number; as text it is refused wherever a number belongs.
            None => Json::String(value.to_string()),
        },
        ValueKind::String(value) => Json::String(value),
        ValueKind::Array(values) => Json::Array(values.into_iter().map(to_json).collect()),
        ValueKind::Table(entries) => entries.into_iter().map(|(name, value)| (name, to_json(value))).collect(),
    }
}

fn from_json(value: &Json) -> ValueKind {
    match value {
        Json::Null => ValueKind::Nil,
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(value) => match value.as_u64() {
            Some(value) => ValueKind::U64(value),
            None => value.as_f64().map_or(ValueKind::Nil, ValueKind::Float),
        },
        Json::String(value) => ValueKind::String(value.clone()),
        Json::Array(values) => {
            ValueKind::Array(values.iter().map(|value| Value::new(None, from_json(value))).collect())
        }
        // No setting is a table.
        Json::Object(_) => ValueKind::Nil,
    }
}
