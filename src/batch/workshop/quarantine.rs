//! Rows that were set aside: each with its number, its bytes as they came, and
//! the reason, and all together as a file that can be an input again.

use bytes::Bytes;
use serde::Serialize;

use super::decode::describe;
use super::score::Dropped;
use crate::batch::record::{Cause, Failure};
use crate::batch::records::{RecordEnds, raw_records, without_line_end};
use crate::batch::run::Order;
use crate::error::CellError;
use crate::frame::format::Format;
use crate::frame::stream::RejectedRow;

/// A row that was set aside.
pub(super) struct BadRow {
    /// Its number within the object, counted from 0.
    pub number: u64,
    /// Its bytes without the line end.
    pub raw: Bytes,
    /// The header of its file.
    pub header: Bytes,
    /// `parse` or `score`.
    pub stage: &'static str,
    /// What was wrong.
    pub message: String,
    /// The class of the R condition.
    pub class: Vec<String>,
    /// The R call that failed.
    pub call: Option<String>,
    /// The cells that don't fit.
    pub cells: Vec<CellError>,
}

/// One line of the file with reasons.
#[derive(Serialize)]
struct Reason<'a> {
    run: &'a str,
    partition: &'a str,
    input: &'a str,
    row: u64,
    stage: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    class: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "<[CellError]>::is_empty")]
    cells: &'a [CellError],
    raw: std::borrow::Cow<'a, str>,
    attempt: &'a str,
}

impl BadRow {
    /// A row that can't be read, or doesn't fit.
    pub(super) fn unreadable(row: RejectedRow, first: u64) -> Self {
        Self {
            number: first + row.row,
            message: describe(&row.error),
            cells: row.error.cells().map(|cells| cells.listed.clone()).unwrap_or_default(),
            raw: row.raw,
            header: Bytes::new(),
            stage: "parse",
            class: Vec::new(),
            call: None,
        }
    }
}

/// Leaves rows out that R can't score: their numbers and bytes are looked up.
pub(super) fn add_dropped(
    bad: &mut Vec<BadRow>,
    dropped: Vec<Dropped>,
    numbers: &[u64],
    raw: Option<&Bytes>,
    format: Option<Format>,
) {
    let ends: Option<(fn() -> RecordEnds, bool)> = match format {
        Some(Format::Csv) => Some((RecordEnds::csv, true)),
        Some(Format::Ndjson) => Some((RecordEnds::lines, false)),
        _ => None,
    };
    let first = numbers.first().copied().unwrap_or(0).min(bad.iter().map(|row| row.number).min().unwrap_or(u64::MAX));
    for Dropped { position, condition } in dropped {
        bad.push(BadRow {
            number: numbers.get(position).copied().unwrap_or_default(),
            raw: Bytes::new(),
            header: Bytes::new(),
            stage: "score",
            message: condition.message,
            class: condition.class,
            call: condition.call,
            cells: Vec::new(),
        });
    }
    bad.sort_by_key(|row| row.number);
    if let (Some((ends, header)), Some(raw), false) = (ends, raw, bad.is_empty()) {
        let wanted: Vec<u64> = bad.iter().map(|row| row.number - first).collect();
        let found = raw_records(raw, ends(), header, &wanted);
        let head = if header { header_of(raw, ends()) } else { Bytes::new() };
        for (row, bytes) in bad.iter_mut().zip(found) {
            if row.raw.is_empty() {
                row.raw = raw.slice_ref(bytes);
            }
            row.header = head.clone();
        }
    }
}

fn header_of(raw: &Bytes, mut ends: RecordEnds) -> Bytes {
    let mut header = None;
    ends.push(raw, |record| _ = header.get_or_insert(record));
    let place = |position: u64| usize::try_from(position).unwrap_or(raw.len());
    let header = header.map_or(0..raw.len(), |header| place(header.start)..place(header.end));
    raw.slice_ref(without_line_end(&raw[header]))
}

/// One JSON object per row.
pub(super) fn reasons(run: &str, order: Order<'_>, input: &str, bad: &[BadRow]) -> Bytes {
    let mut out = Vec::new();
    for row in bad {
        let reason = Reason {
            run,
            partition: &order.partition.id,
            input,
            row: row.number,
            stage: row.stage,
            message: &row.message,
            class: &row.class,
            call: row.call.as_deref(),
            cells: &row.cells,
            raw: String::from_utf8_lossy(&row.raw),
            attempt: order.attempt,
        };
        // Text and numbers can always be written to memory.
        if serde_json::to_writer(&mut out, &reason).is_ok() {
            out.push(b'\n');
        }
    }
    Bytes::from(out)
}

/// The rows as they came, behind their header where the format has one.
pub(super) fn replayable(bad: &[BadRow], header: bool) -> Bytes {
    let mut out = Vec::new();
    if header && let Some(first) = bad.first() {
        out.extend_from_slice(&first.header);
        out.push(b'\n');
    }
    for row in bad {
        out.extend_from_slice(&row.raw);
        out.push(b'\n');
    }
    Bytes::from(out)
}

/// Why a partition fails with rows that may not be left out.
pub(super) fn not_droppable(input: &str, rejected: &[RejectedRow], first: u64, independent: bool) -> Failure {
    let example = rejected
        .first()
        .map(|row| format!("row {} of {input}: {}", first + row.row, describe(&row.error)))
        .unwrap_or_default();
    let advice = if independent {
        ""
    } else {
        "; a row can be set aside alone only when the rows of the model are proved to be independent, of a script after \
         row_independent = true in its rscore.toml"
    };
    Failure {
        cause: Cause::BadRows,
        message: format!("{} rows can't be used, such as {example}{advice}", rejected.len()),
        condition: None,
    }
}
