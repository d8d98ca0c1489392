//! What is found wrong with the values of an input while it is decoded, in
//! whatever form it came: misfits, which make an error in the end, and warnings.

use super::render;
use crate::error::{CellError, CellErrors, Error, Kind, Result};

/// Misfits and warnings so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    input: Option<String>,
    first_row: usize,
    cells: CellErrors,
    columns: usize,
    warnings: Vec<String>,
}

/// A bound that the data passed; what to say about it.
#[derive(Debug)]
pub(crate) struct LimitPassed(pub(crate) String);

impl From<LimitPassed> for Error {
    fn from(limit: LimitPassed) -> Self {
        Self::new(Kind::TooLarge, limit.0)
    }
}

impl Findings {
    /// Findings of rows that come after `first_row` others in their stream.
    pub(crate) fn from_row(first_row: usize) -> Self {
        Self { first_row, ..Self::default() }
    }

    /// What follows belongs to this input.
    pub(crate) fn enter(&mut self, input: &str) {
        self.input = Some(input.to_owned());
    }

    /// Counts a misfit of a cell, or of a column without `row`; `describe` gives
    /// what was expected and what was got.
    #[cold]
    pub(crate) fn misfit(&mut self, row: Option<usize>, column: &str, describe: impl FnOnce() -> (String, String)) {
        self.columns += usize::from(row.is_none());
        let mut cells = std::mem::take(&mut self.cells);
        cells.push(|| self.cell(row, column, describe));
        self.cells = cells;
    }

    /// A misfit that is not counted here.
    pub(crate) fn cell(
        &self,
        row: Option<usize>,
        column: &str,
        describe: impl FnOnce() -> (String, String),
    ) -> CellError {
        let (expected, got) = describe();
        let row = row.map(|row| self.number(row));
        CellError { input: self.input.clone(), row, column: render::name(column), expected, got }
    }

    /// Number of a row in its stream.
    pub(crate) fn number(&self, row: usize) -> usize {
        self.first_row + row
    }

    /// Whether a misfit is about a whole column, and not about a row alone.
    pub(crate) fn have_a_column(&self) -> bool {
        self.columns > 0
    }

    /// Takes the misfits of the row that was just read out of the account.
    pub(crate) fn take_misfit(&mut self) -> Option<Error> {
        (!self.cells.is_empty()).then(|| Error::misfit(std::mem::take(&mut self.cells)))
    }

    /// Adds a warning to the answer.
    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(match &self.input {
            Some(input) => format!("input {}: {warning}", render::quoted(input)),
            None => warning,
        });
    }

    /// The warnings, or the misfits as an error.
    pub(crate) fn into_warnings(self) -> Result<Vec<String>> {
        if self.cells.is_empty() { Ok(self.warnings) } else { Err(Error::misfit(self.cells)) }
    }
}
