//! What the decoders of a stream have in common: when a chunk is full, and what
//! becomes of a row that doesn't fit.

use super::OnMisfit;
use crate::error::{Error, Kind, Result};
use crate::frame::findings::Findings;
use crate::frame::table::Table;

/// How far a stream was read.
#[derive(Debug, Default)]
pub(in crate::frame) struct Progress {
    rows: usize,
    finished: bool,
    gave_a_chunk: bool,
}

impl Progress {
    /// Rows that were given, rejected ones too.
    pub(in crate::frame) fn rows(&self) -> usize {
        self.rows
    }

    /// There are no more bytes.
    pub(in crate::frame) fn finish(&mut self) {
        self.finished = true;
    }

    /// How many of the `complete` rows make the next chunk, if they are enough.
    /// `full` says after how many of them there are bytes enough for one.
    pub(in crate::frame) fn chunk(&self, complete: usize, max_rows: usize, full: Option<usize>) -> Option<usize> {
        let most = max_rows.max(1);
        let is_last = self.finished && (complete > 0 || !self.gave_a_chunk);
        match full {
            Some(full) => Some(full.min(most)),
            None if complete >= most => Some(most),
            None => is_last.then_some(complete),
        }
    }

    /// A chunk of `rows` rows was given.
    pub(in crate::frame) fn gave(&mut self, rows: usize) {
        self.rows += rows;
        self.gave_a_chunk = true;
    }
}

/// What becomes of the row that was just read with `outcome`: the stream fails
/// with it, or it is set aside for the reason that is returned. `positions` are
/// the columns that the row may have left without a value.
pub(in crate::frame) fn settle(
    outcome: Result<()>,
    on_misfit: OnMisfit,
    positions: impl Iterator<Item = usize>,
    table: &mut Table<'_>,
    findings: &mut Findings,
) -> Result<Option<Error>> {
    if on_misfit == OnMisfit::Fail {
        return outcome.map(|()| None);
    }
    if findings.have_a_column() {
        // Every row has the same fault: there is no use in going on.
        return findings.take_misfit().map_or(Ok(None), Err);
    }
    match outcome {
        Ok(()) => Ok(findings.take_misfit().inspect(|_| table.reject_row())),
        Err(error) if *error.kind() == Kind::Malformed => {
            findings.take_misfit();
            table.abandon_row(positions);
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}
