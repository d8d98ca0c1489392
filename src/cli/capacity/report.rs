//! What `rscore capacity` prints.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::Measured;
use super::recommend::Recommendation;

/// The table, and what follows from it.
pub(super) fn render(measured: &Measured, recommendation: Option<Recommendation>) -> String {
    let Measured { model, version, workers, rows, .. } = measured;
    let mut text = format!("{model} version {version}, {workers} workers, requests of {rows} rows, without HTTP\n\n");
    let _ = writeln!(text, "{}\n", table(measured));
    let Some(Recommendation { level, workers, memory, requests_per_pod, queue_age }) = recommendation else {
        return text;
    };
    let mebibytes = memory >> 20;
    let _ = write!(
        text,
        "Best with {} callers: {:.0} requests/s, p99 {}. More callers wait longer and gain little.\n\n\
         For a pod\n  \
         cores       {workers}\n  \
         workers     {workers}\n  \
         memory      {mebibytes} MiB\n\
         For the autoscaler\n  \
         queue age   {} (rscore_queue_age_seconds)\n  \
         or          {requests_per_pod:.0} requests/s per pod, 70 % of the best\n",
        level.callers,
        level.rate,
        milliseconds(level.p99),
        milliseconds(queue_age),
    );
    text
}

fn table(measured: &Measured) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row(["callers", "requests/s", "rows/s", "p50", "p99", "waiting", "in R"]);
    for level in &measured.levels {
        table.add_row([
            level.callers.to_string(),
            format!("{:.0}", level.rate),
            format!("{:.0}", level.rate * f64::from(measured.rows)),
            milliseconds(level.p50),
            milliseconds(level.p99),
            milliseconds(level.queue),
            milliseconds(level.score),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
