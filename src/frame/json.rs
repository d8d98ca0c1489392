//! The JSON codec of the native door: bytes to typed columns without a tree in
//! between, and columns to bytes.

mod body;
mod cell;
mod columns;
mod encode;
mod key;
mod lines;
mod records;
mod report;
mod split;
#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use serde::de::DeserializeSeed;

use self::body::Body;
pub use self::encode::{JsonArrayEncoder, LinesEncoder, encode_predictions};
pub use self::lines::LinesDecoder;
use self::report::Report;
use super::schema::{InputSchemas, Inputs};
use super::table::Table;
use crate::error::{Error, Kind, Result};

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions {
    /// Most rows of any input.
    pub max_rows: usize,
    /// Accept the strings `NaN`, `Infinity` and `-Infinity` in double columns.
    pub non_finite_strings: bool,
}

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// One record batch per input of the model, columns in the schema's order.
    pub inputs: Inputs<RecordBatch>,
    /// For the answer's `warnings`: for example columns that were ignored.
    pub warnings: Vec<String>,
}

/// How NaN and the infinities are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonFinite {
    /// As `null`.
    #[default]
    Null,
    /// As the strings `NaN`, `Infinity` and `-Infinity`.
    String,
}

/// Reads records, columns, split or named inputs.
///
/// # Errors
///
/// [`Kind::Malformed`] when the body is not JSON or has none of the forms,
/// with the line and the column; [`Kind::Unprocessable`] when values don't fit
/// the schemas, with the list of misfits; [`Kind::TooLarge`] when it has too
/// many rows or columns.
pub fn decode(body: &[u8], schemas: &InputSchemas, options: DecodeOptions) -> Result<Decoded> {
    let text = text_of(body)?;
    let mut report = Report::new(text, options, schemas.len() > 1);
    let mut tables = read(text, schemas, &mut report)?;
    if report.saw_long_number() {
        // Rare: some literal may be an integer that its double does not equal.
        // Only a second reading, which looks at the digits, can tell.
        report = Report::new(text, options, schemas.len() > 1).comparing_digits();
        tables = read(text, schemas, &mut report)?;
    }
    let mut inputs = Vec::with_capacity(tables.len());
    for ((name, _), table) in schemas.iter().zip(tables) {
        report.enter(name);
        inputs.push((name.to_owned(), table.finish(&mut report.findings)?));
    }
    Ok(Decoded { inputs: Inputs::named(inputs), warnings: report.into_warnings()? })
}

fn text_of(body: &[u8]) -> Result<&str> {
    const BYTE_ORDER_MARK: &str = "\u{feff}";
    // Offsets of Arrow's strings are 32 bits wide.
    if i32::try_from(body.len()).is_err() {
        return Err(Error::new(Kind::TooLarge, "the body is over 2 GiB: send it in parts"));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::malformed(format!("the body is not UTF-8: the byte at offset {} is wrong", error.valid_up_to()))
            .because(error)
    })?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(Error::malformed(format!("the body is empty: send {}", body::FORMS)));
    }
    Ok(text)
}

fn read<'s, 'b>(text: &'b str, schemas: &'s InputSchemas, report: &mut Report<'b>) -> Result<Vec<Table<'s>>> {
    let mut tables: Vec<_> =
        schemas.iter().map(|(_, schema)| Table::new(schema, report.options().non_finite_strings)).collect();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Body { schemas, tables: &mut tables, report }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| report.conclude(error, text))?;
    Ok(tables)
}
