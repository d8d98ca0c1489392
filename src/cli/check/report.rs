//! What `rscore check` prints, for the person who trained the model.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::timing::Timing;
use crate::frame::json::{NonFinite, encode_predictions};
use crate::frame::schema::{Schema, UnknownColumns, UnknownLevel};
use crate::scoring::independence::RowIndependence;
use crate::scoring::load::LoadedVersion;

/// Levels of a factor that the table shows.
const SHOWN_LEVELS: usize = 6;

/// Predictions of the sample that are shown.
const SHOWN_PREDICTIONS: usize = 3;

/// The whole report.
pub(super) fn render(
    directory: &Path,
    loaded: &LoadedVersion,
    load_time: Duration,
    timings: &[Timing],
    workers: usize,
) -> String {
    let mut text = String::new();
    let info = &loaded.info;
    let packages: Vec<String> = info.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut facts = table();
    for (name, value) in [
        ("bundle", directory.display().to_string()),
        ("description", info.description.clone().unwrap_or_default()),
        ("class", info.class.join(", ")),
        ("R", loaded.r_version.clone()),
        ("packages", packages.join(", ")),
        ("scored by", loaded.scored_by.clone()),
        ("digest", info.digest.clone()),
        ("loaded in", seconds(load_time)),
        ("time limit", seconds(info.timeout)),
    ] {
        if !value.is_empty() {
            facts.add_row([name, &value]);
        }
    }
    let _ = writeln!(text, "{facts}\n");

    for (name, schema) in info.schemas.iter() {
        let title = if info.schemas.len() == 1 { "Columns".to_owned() } else { format!("Columns of '{name}'") };
        let _ = writeln!(text, "{title}\n{}\n", columns(schema));
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "Warning: {warning}\n");
    }
    let _ = writeln!(text, "Sample\n  {}\n", sample(loaded));
    let _ = writeln!(text, "Requests\n  {}\n", joining(&info.row_independence));
    let _ = writeln!(text, "Speed\n{}\n", speed(timings, workers));
    text.push_str("It can be served.\n");
    text
}

fn columns(schema: &Schema) -> String {
    if schema.columns.is_empty() {
        return match schema.unknown_columns {
            UnknownColumns::Pass => "  not known: columns are taken as they come. List them in rscore.toml under \
                                     [columns], so that requests are checked"
                .to_owned(),
            UnknownColumns::Error | UnknownColumns::Ignore => "  none".to_owned(),
        };
    }
    let mut rows = table();
    rows.add_row(["column", "type", "NA", "levels"]);
    for column in &schema.columns {
        let mut levels = column.levels.iter().take(SHOWN_LEVELS).cloned().collect::<Vec<_>>().join(", ");
        if column.levels.len() > SHOWN_LEVELS {
            let _ = write!(levels, ", ... ({} in all)", column.levels.len());
        }
        if column.unknown_level == UnknownLevel::Na {
            levels.push_str(" (others become NA)");
        }
        let nullable = if column.nullable { "allowed" } else { "refused" };
        rows.add_row([&column.name, &column.kind.to_string(), nullable, &levels]);
    }
    rows.to_string()
}

fn sample(loaded: &LoadedVersion) -> String {
    let Some(scored) = &loaded.sample else {
        return "none: a sample.json beside the model would be scored at each load".to_owned();
    };
    let rows = scored.batch.num_rows();
    let mut json = Vec::new();
    let first = scored.batch.slice(0, rows.min(SHOWN_PREDICTIONS));
    let shown = match encode_predictions(&first, scored.unnamed, NonFinite::String, &mut json) {
        Ok(()) => String::from_utf8_lossy(&json).into_owned(),
        Err(error) => error.to_string(),
    };
    let verdict = match loaded.sample_was_expected {
        true => "as expected.json says",
        false => "there is no expected.json to compare with",
    };
    let more = if rows > SHOWN_PREDICTIONS { " and so on" } else { "" };
    format!("{rows} rows scored, {verdict}: {shown}{more}")
}

fn joining(row_independence: &RowIndependence) -> String {
    match row_independence {
        RowIndependence::Proved { rows, made_up } => {
            let source = if *made_up { "made up from the columns" } else { "of the sample" };
            format!("share calls of R: {rows} rows {source} gave the same bits together, reversed and one by one")
        }
        RowIndependence::Denied => "are scored one by one, as the manifest says".to_owned(),
        RowIndependence::NotProved { reason } | RowIndependence::Refuted { reason } => {
            format!("are scored one by one: {reason}")
        }
    }
}

fn speed(timings: &[Timing], workers: usize) -> String {
    if timings.is_empty() {
        return "  not measured: it needs a sample.json, or columns of known types".to_owned();
    }
    let mut rows = table();
    let per_second = format!("rows/s on {workers} workers");
    rows.add_row(["rows per call", "ms per call", "of it in R", &per_second]);
    for timing in timings {
        let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        let rate = timing.rows as f64 / timing.call.as_secs_f64() * workers as f64;
        rows.add_row([
            timing.rows.to_string(),
            milliseconds(timing.call),
            milliseconds(timing.score),
            format!("{rate:.0}"),
        ]);
    }
    for column in rows.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows.to_string()
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
