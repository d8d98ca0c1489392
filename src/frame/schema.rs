//! The columns that a model takes: names, types, levels and what may be
//! missing. A schema is read off the R object or written in the manifest, and
//! every request is checked against it before its rows meet anybody else's.

use std::fmt;

use arrow_schema::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

/// Name of the input of a model that has just one.
pub const SINGLE_INPUT: &str = "data";

/// Key in the metadata of a dictionary field that makes it an ordered factor.
pub const ORDERED_KEY: &str = "rscore.ordered";

/// Type of a column, named after the R vector that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// `double`; Arrow `Float64`.
    Double,
    /// `integer`; Arrow `Int32` without `i32::MIN`, which is R's NA.
    Integer,
    /// `logical`; Arrow `Boolean`.
    Logical,
    /// `character`; Arrow `Utf8`.
    Character,
    /// `factor`; Arrow `Dictionary(Int32, Utf8)` whose values are the schema's
    /// levels in order.
    Factor,
    /// `ordered`, a factor whose levels have an order; Arrow as for a factor.
    Ordered,
    /// `Date`; Arrow `Date32`.
    Date,
    /// `POSIXct` in UTC; Arrow `Timestamp(Microsecond, "UTC")`.
    Timestamp,
    /// Not known before the data is seen: numbers become double, booleans
    /// logical, strings character; the first value that is not null decides.
    Any,
}

impl ColumnType {
    /// The Arrow type that decoded columns of this type have; `None` for
    /// [`ColumnType::Any`], which follows its data.
    pub fn data_type(self) -> Option<DataType> {
        Some(match self {
            Self::Double => DataType::Float64,
            Self::Integer => DataType::Int32,
            Self::Logical => DataType::Boolean,
            Self::Character => DataType::Utf8,
            Self::Factor | Self::Ordered => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Any => return None,
        })
    }

    /// The type of that name, as manifests and `bootstrap.R` write it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "double" => Self::Double,
            "integer" => Self::Integer,
            "logical" => Self::Logical,
            "character" => Self::Character,
            "factor" => Self::Factor,
            "ordered" => Self::Ordered,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "any" => Self::Any,
            _ => return None,
        })
    }

    /// Whether values are one of a list of levels by nature.
    pub fn is_factor(self) -> bool {
        matches!(self, Self::Factor | Self::Ordered)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Double => "double",
            Self::Integer => "integer",
            Self::Logical => "logical",
            Self::Character => "character",
            Self::Factor => "factor",
            Self::Ordered => "ordered",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Any => "any",
        })
    }
}

/// What happens to a level that the model has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownLevel {
    /// The request is refused.
    #[default]
    Error,
    /// The cell becomes NA.
    Na,
}

/// What happens to a column that the schema doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownColumns {
    /// The request is refused.
    #[default]
    Error,
    /// The column is dropped and named in the answer's warnings.
    Ignore,
    /// The column is passed on as [`ColumnType::Any`]: the way of a model
    /// whose schema could not be read.
    Pass,
}

/// One column of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name as R knows it; never mangled.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether `null` and a missing key are NA; otherwise they are misfits.
    pub nullable: bool,
    /// Levels of a factor in order; for a character column the only strings
    /// allowed, or none when any string is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// What an unknown level becomes.
    #[serde(default)]
    pub unknown_level: UnknownLevel,
}

impl Column {
    /// A nullable column without levels.
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self { name: name.into(), kind, nullable: true, levels: Vec::new(), unknown_level: UnknownLevel::Error }
    }

    /// The Arrow field of decoded data; `None` for [`ColumnType::Any`].
    pub fn field(&self) -> Option<Field> {
        let field = Field::new(&self.name, self.kind.data_type()?, true);
        Some(match self.kind {
            ColumnType::Ordered => field.with_metadata([(ORDERED_KEY.to_owned(), "true".to_owned())]),
            _ => field,
        })
    }
}

/// The columns of one input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Columns in the order in which R gets them.
    pub columns: Vec<Column>,
    /// What happens to other columns.
    #[serde(default)]
    pub unknown_columns: UnknownColumns,
}

impl Schema {
    /// The schema of a model about which nothing is known: every column is
    /// taken as it comes.
    pub fn untyped() -> Self {
        Self { columns: Vec::new(), unknown_columns: UnknownColumns::Pass }
    }

    /// Position of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// The inputs of a model by name; most models have one, called [`SINGLE_INPUT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs<T> {
    entries: Vec<(String, T)>,
}

/// Schemas of all inputs of a model.
pub type InputSchemas = Inputs<Schema>;

impl<T> Inputs<T> {
    /// The one input of a model that has no names for them.
    pub fn single(value: T) -> Self {
        Self { entries: vec![(SINGLE_INPUT.to_owned(), value)] }
    }

    /// Inputs by name, in order.
    pub fn named(entries: Vec<(String, T)>) -> Self {
        Self { entries }
    }

    /// The only input when it is unnamed, that is, called [`SINGLE_INPUT`].
    pub fn as_single(&self) -> Option<&T> {
        match self.entries.as_slice() {
            [(name, value)] if name == SINGLE_INPUT => Some(value),
            _ => None,
        }
    }

    /// The input of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> IntoIterator for Inputs<T> {
    type Item = (String, T);
    type IntoIter = std::vec::IntoIter<(String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
