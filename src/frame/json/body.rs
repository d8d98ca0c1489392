//! Which form a body has: records, columns, split, or several named inputs of
//! any of these.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::read_columns;
use super::key::Key;
use super::records::read_records;
use super::report::Report;
use super::split::read_split;
use crate::frame::render::{json_name, quoted};
use crate::frame::schema::InputSchemas;
use crate::frame::table::Table;

/// The forms of one input, for messages.
pub(super) const FORMS: &str =
    r#"records [{"x":1},…], columns {"x":[1,…],…} or split {"columns":["x",…],"data":[[1,…],…]}"#;

/// The whole body.
pub(super) struct Body<'t, 's, 'b> {
    pub(super) schemas: &'s InputSchemas,
    pub(super) tables: &'t mut [Table<'s>],
    pub(super) report: &'t mut Report<'b>,
}

/// The object of named inputs.
struct NamedInputs<'t, 's, 'b>(Body<'t, 's, 'b>);

/// One input in any form.
struct Input<'t, 's, 'b> {
    table: &'t mut Table<'s>,
    report: &'t mut Report<'b>,
}

impl<'de> DeserializeSeed<'de> for Body<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [_] = self.tables { f.write_str(FORMS) } else { f.write_str(&self.example()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        match self.tables {
            [table] => read_records(table, self.report, seq),
            _ => Err(Error::custom(format_args!("the model takes several inputs: send {}", self.example()))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(key) = map.next_key_seed(Key)? else { return Err(no_columns()) };
        let is_wrapper =
            key == "inputs" && !matches!(self.tables, [table] if table.schema().position("inputs").is_some());
        if is_wrapper {
            map.next_value_seed(NamedInputs(self))?;
            return match map.next_key_seed(Key)? {
                None => Ok(()),
                Some(other) => Err(Error::custom(format_args!("unknown key {} beside 'inputs'", quoted(&other)))),
            };
        }
        match self.tables {
            [table] => read_object(table, self.report, key, map),
            _ => Err(Error::custom(format_args!(
                "the model takes several inputs and {} is not 'inputs': send {}",
                quoted(&key),
                self.example()
            ))),
        }
    }
}

impl Body<'_, '_, '_> {
    /// How several inputs are sent.
    fn example(&self) -> String {
        let names: Vec<_> = self.schemas.iter().map(|(name, _)| format!("{}:…", json_name(name))).collect();
        format!(r#"{{"inputs":{{{}}}}} where each … is {FORMS}"#, names.join(","))
    }

    fn names(&self) -> String {
        self.schemas.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ")
    }
}

impl<'de> DeserializeSeed<'de> for NamedInputs<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NamedInputs<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the inputs {}", self.0.names())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.0.tables.len()];
        while let Some(key) = map.next_key_seed(Key)? {
            let Some(position) = self.0.schemas.iter().position(|(name, _)| name == key) else {
                return Err(Error::custom(format_args!(
                    "unknown input {}: the model takes {}",
                    quoted(&key),
                    self.0.names()
                )));
            };
            if std::mem::replace(&mut seen[position], true) {
                return Err(Error::custom(format_args!("the input {} is there twice", quoted(&key))));
            }
            self.0.report.enter(&key);
            map.next_value_seed(Input { table: &mut self.0.tables[position], report: self.0.report })?;
        }
        match self.0.schemas.iter().zip(seen).find(|(_, seen)| !seen) {
            None => Ok(()),
            Some(((name, _), _)) => Err(Error::custom(format_args!(
                "the input {} is missing: the model takes {}",
                quoted(name),
                self.0.names()
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Input<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Input<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        read_records(self.table, self.report, seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key_seed(Key)? {
            Some(key) => read_object(self.table, self.report, key, map),
            None => Err(no_columns()),
        }
    }
}

/// Reads columns or split, whose first key has been read.
fn read_object<'de, A: MapAccess<'de>>(
    table: &mut Table<'_>,
    report: &mut Report<'de>,
    first: Cow<'de, str>,
    mut map: A,
) -> Result<(), A::Error> {
    let is_wrapper = |key: &str, word: &str| key == word && table.schema().position(word).is_none();
    if !is_wrapper(&first, "index") {
        return if is_wrapper(&first, "columns") || is_wrapper(&first, "data") {
            read_split(table, report, first, false, map)
        } else {
            read_columns(table, report, None, Some(first), map)
        };
    }
    // The row labels of split come first when pandas writes it; elsewhere
    // `index` is a column like any other. The next key tells.
    let index: &'de RawValue = map.next_value()?;
    match map.next_key_seed(Key)? {
        Some(key) if is_wrapper(&key, "columns") || is_wrapper(&key, "data") => {
            read_split(table, report, key, true, map)
        }
        key => read_columns(table, report, Some(index), key, map),
    }
}

fn no_columns<E: Error>() -> E {
    E::custom(format_args!("an object without keys has no rows: send {FORMS}"))
}
