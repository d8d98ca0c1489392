//! Misfits of data that comes column by column, by the row that they are in.

use std::collections::BTreeMap;

use crate::error::CellErrors;
use crate::frame::column::{ColumnBuilder, Rejected};
use crate::frame::findings::Findings;
use crate::frame::stream::OnMisfit;

/// Where misfits are noted: all in one account, or an account for each row.
pub(super) struct Misfits<'f> {
    findings: &'f mut Findings,
    by_row: Option<BTreeMap<usize, CellErrors>>,
}

impl<'f> Misfits<'f> {
    /// No misfits yet.
    pub(super) fn new(findings: &'f mut Findings, on_misfit: OnMisfit) -> Self {
        Self { findings, by_row: (on_misfit == OnMisfit::Reject).then(BTreeMap::new) }
    }

    /// Notes a cell.
    #[cold]
    pub(super) fn add(&mut self, row: usize, column: &ColumnBuilder<'_>, why: Rejected, got: impl FnOnce() -> String) {
        let describe = || (column.expected(why), got());
        match &mut self.by_row {
            None => self.findings.misfit(Some(row), column.name(), describe),
            Some(rows) => {
                let findings = &*self.findings;
                rows.entry(row).or_default().push(|| findings.cell(Some(row), column.name(), describe));
            }
        }
    }

    /// Notes a whole column.
    pub(super) fn add_column(&mut self, column: &ColumnBuilder<'_>, got: String) {
        self.findings.misfit(None, column.name(), || (column.expected(Rejected::Type), got));
    }

    /// The rows that have misfits, where they are told apart.
    pub(super) fn into_rows(self) -> BTreeMap<usize, CellErrors> {
        self.by_row.unwrap_or_default()
    }
}
