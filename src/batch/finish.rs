//! The end of a run: whoever sees it complete writes the report and the mark of
//! success. Several may; they write the same.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::job::Errors;
use super::layout::Layout;
use super::objects::{Objects, StoreTrouble, read_json, to_json};
use super::plan::PlanHead;
use super::record::Outcome;
use super::report::{Collector, Report};
use super::run::board::Board;
use super::run::heartbeat::heartbeats;

/// Outcomes that are read at once.
const READS: usize = 64;

/// Reads all outcomes and makes the report, of an unfinished run too.
///
/// # Errors
/// The store's.
pub async fn report(
    objects: &dyn Objects,
    head: &PlanHead,
    board: &Board,
    errors: &Errors,
) -> Result<Report, StoreTrouble> {
    let settled = (0..board.partitions().len()).filter(|&index| board.is_settled(index));
    let paths = settled.map(|index| board.layout().outcome(board.generation(index), &board.partitions()[index].id));
    let mut outcomes = stream::iter(paths)
        .map(|path| async move {
            let outcome = read_json::<Outcome>(objects, &path).await?;
            outcome.ok_or_else(|| StoreTrouble::new(format!("{path} is gone")))
        })
        .buffer_unordered(READS);
    let mut collector = Collector::new(head);
    while let Some(outcome) = outcomes.next().await {
        collector.add(&outcome?);
    }
    Ok(collector.finish(&heartbeats(objects, board.layout()).await?, errors))
}

/// Writes the report of a complete run, and says so if it is within its thresholds.
///
/// # Errors
/// The store's.
pub async fn finish(objects: &dyn Objects, layout: &Layout, report: &Report) -> Result<(), StoreTrouble> {
    objects.write(&layout.report(), to_json(report)?).await?;
    mark(objects, layout, report).await
}

/// Has the mark of success say what a report says.
///
/// # Errors
/// The store's.
pub async fn mark(objects: &dyn Objects, layout: &Layout, report: &Report) -> Result<(), StoreTrouble> {
    if report.within_thresholds {
        objects.write(&layout.success(), Bytes::from_static(b"")).await
    } else {
        objects.remove(&layout.success()).await
    }
}

/// Takes back what was said of a run that is opened again.
///
/// # Errors
/// The store's.
pub async fn take_back(objects: &dyn Objects, layout: &Layout) -> Result<(), StoreTrouble> {
    objects.remove(&layout.success()).await?;
    objects.remove(&layout.report()).await
}
