//! What is found wrong while a body is read: misfits and warnings, which are
//! collected, and the failure that ends the reading.

use std::borrow::Cow;

use serde::de;
use serde_json::error::Category;

use super::DecodeOptions;
use crate::error::{Error, Kind, Result};
use crate::frame::findings::{Findings, LimitPassed};
use crate::frame::render;

/// Most characters of a parser's message in an answer.
const MESSAGE_CHARACTERS: usize = 600;

/// State of one reading, apart from the columns.
pub(super) struct Report<'b> {
    body: &'b str,
    options: DecodeOptions,
    named_inputs: bool,
    compare_digits: bool,
    long_number: bool,
    nested_cells: usize,
    /// Lines of the stream before the body.
    lines_before: usize,
    pub(super) findings: Findings,
    kind: Kind,
    concluded: Option<Error>,
}

impl<'b> Report<'b> {
    /// A report about `body`; with `named_inputs` misfits say which input.
    pub(super) fn new(body: &'b str, options: DecodeOptions, named_inputs: bool) -> Self {
        Self {
            body,
            options,
            named_inputs,
            compare_digits: false,
            long_number: false,
            nested_cells: 0,
            lines_before: 0,
            findings: Findings::default(),
            kind: Kind::Malformed,
            concluded: None,
        }
    }

    /// A report about one line of a stream, with what was found before it.
    pub(super) fn of_line(line: &'b str, options: DecodeOptions, lines_before: usize, findings: Findings) -> Self {
        Self { lines_before, findings, ..Self::new(line, options, false) }
    }

    /// The same for a reading that compares integers with their digits.
    pub(super) fn comparing_digits(self) -> Self {
        Self { compare_digits: true, ..self }
    }

    pub(super) fn options(&self) -> DecodeOptions {
        self.options
    }

    #[inline]
    pub(super) fn compares_digits(&self) -> bool {
        self.compare_digits
    }

    /// Notes a number that is too large for its digits to be known.
    pub(super) fn note_long_number(&mut self) {
        self.long_number = true;
    }

    /// Whether a second reading must compare digits.
    pub(super) fn saw_long_number(&self) -> bool {
        self.long_number && !self.compare_digits
    }

    /// Notes an array or object where a cell should be.
    pub(super) fn note_nested_cell(&mut self) {
        self.nested_cells += 1;
    }

    /// Arrays and objects where cells should be.
    pub(super) fn nested_cells(&self) -> usize {
        self.nested_cells
    }

    /// What follows belongs to this input.
    pub(super) fn enter(&mut self, input: &str) {
        if self.named_inputs {
            self.findings.enter(input);
        }
    }

    /// Counts a misfit; `describe` gives what was expected and what was got.
    #[cold]
    pub(super) fn misfit(&mut self, row: Option<usize>, column: &str, describe: impl FnOnce() -> (String, String)) {
        self.findings.misfit(row, column, describe);
    }

    /// The warnings, or the misfits as an error.
    pub(super) fn into_warnings(self) -> Result<Vec<String>> {
        self.findings.into_warnings()
    }

    /// Ends the reading because a limit is passed.
    pub(super) fn too_large<E: de::Error>(&mut self, limit: LimitPassed) -> E {
        self.kind = Kind::TooLarge;
        E::custom(limit.0)
    }

    /// Ends the reading of the body because that of a part of it failed, which
    /// was read apart.
    pub(super) fn part_failed<E: de::Error>(&mut self, error: serde_json::Error, part: &str) -> E {
        self.concluded = Some(self.conclude(error, part));
        E::custom("a part of the body failed")
    }

    /// The error that ended the reading of `text`, the body or a part of it.
    pub(super) fn conclude(&mut self, error: serde_json::Error, text: &str) -> Error {
        if let Some(concluded) = self.concluded.take() {
            return concluded;
        }
        // Positions count from the start of what was parsed.
        let start = (text.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize).min(self.body.len());
        let offset = (start + offset_of(text, error.line(), error.column())).min(self.body.len());
        let before = &self.body.as_bytes()[..offset];
        let line = 1 + self.lines_before + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        let full = error.to_string();
        let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message);
        // serde quotes the value that it did not expect, however long.
        let message = render::shortened(message, MESSAGE_CHARACTERS);
        let detail = match error.classify() {
            Category::Data | Category::Io => format!("line {line}, column {column}: {message}"),
            Category::Eof => format!("line {line}, column {column}: the JSON ends too early ({message})"),
            Category::Syntax if message == "number out of range" => {
                format!("line {line}, column {column}: the number is out of range, a double holds up to 1.8e308")
            }
            Category::Syntax => {
                let advice = advice(self.body, offset, self.options).unwrap_or_default();
                format!("line {line}, column {column}: not JSON: {message}{advice}")
            }
        };
        Error::new(self.kind.clone(), detail)
    }
}

/// Byte offset of a position that serde_json reports: lines count from 1, columns are bytes and
/// count from 1, and column 0 is the end of the line before.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    start + column.saturating_sub(1)
}

/// What to send instead of a word of another language.
fn advice(body: &str, offset: usize, options: DecodeOptions) -> Option<Cow<'static, str>> {
    let is_letter = |byte: &&u8| byte.is_ascii_alphabetic();
    let bytes = body.as_bytes();
    let start = offset - bytes[..offset].iter().rev().take_while(is_letter).count();
    let end = offset + bytes[offset..].iter().take_while(is_letter).count();
    Some(match body.get(start..end)?.to_ascii_lowercase().as_str() {
        "nan" | "infinity" | "inf" if options.non_finite_strings => {
            Cow::from(r#"; JSON has no NaN or Infinity: send null, or the string "NaN", "Infinity" or "-Infinity""#)
        }
        "nan" | "infinity" | "inf" => Cow::from("; JSON has no NaN or Infinity: send null for a missing value"),
        "na" | "none" | "undefined" => Cow::from("; a missing value is null in JSON"),
        "true" | "false" | "null" => Cow::from("; true, false and null are lower case in JSON"),
        _ => return None,
    })
}
