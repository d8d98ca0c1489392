//! How far a run is, for people and machines: a bar on a terminal, a line now
//! and then elsewhere, or JSON. All of it goes to standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::batch::plan::PlanHead;
use crate::batch::progress::{Progress, Snapshot};
use crate::batch::session::Show;
use crate::cli::output::say;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A line every ten seconds.
    Plain,
    /// A JSON object every second.
    Json,
}

/// Time between two looks.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_secs(1);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows progress until it is ended.
pub struct Shown {
    style: Style,
    shown: Option<(JoinHandle<()>, Arc<Progress>, Sink)>,
}

#[derive(Clone)]
enum Sink {
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Shown {
    /// Nothing is shown yet.
    pub fn new(style: Style) -> Self {
        Self { style, shown: None }
    }

    /// Shows the last state and no more.
    pub async fn end(self) {
        let Some((task, progress, sink)) = self.shown else { return };
        task.abort();
        // It is over either way.
        let _ = task.await;
        sink.show(&progress.snapshot());
        if let Sink::Bar(bar) = sink {
            bar.abandon();
        }
    }
}

impl Show for Shown {
    fn begin(&mut self, head: &PlanHead, progress: Arc<Progress>) {
        let sink = match self.style {
            Style::Json => Sink::Json,
            Style::Auto if std::io::stderr().is_terminal() => Sink::Bar(bar(head.partitions)),
            Style::Auto | Style::Plain => Sink::Lines,
        };
        let interval = match sink {
            Sink::Bar(_) => BAR_INTERVAL,
            Sink::Json => JSON_INTERVAL,
            Sink::Lines => LINE_INTERVAL,
        };
        if !matches!(sink, Sink::Json) {
            say(&format!("run {}: {} partitions, {} bytes", head.run, head.partitions, head.bytes));
        }
        let task = tokio::spawn({
            let (sink, progress) = (sink.clone(), progress.clone());
            async move {
                let mut ticks = tokio::time::interval(interval);
                ticks.tick().await;
                loop {
                    ticks.tick().await;
                    sink.show(&progress.snapshot());
                }
            }
        });
        self.shown = Some((task, progress, sink));
    }
}

impl Sink {
    fn show(&self, snapshot: &Snapshot) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(snapshot.settled);
                bar.set_message(details(snapshot));
            }
            Self::Lines => say(&format!(
                "{:.1}% ({}/{}), {}",
                100.0 * snapshot.settled as f64 / snapshot.partitions.max(1) as f64,
                snapshot.settled,
                snapshot.partitions,
                details(snapshot)
            )),
            Self::Json => {
                if let Ok(text) = serde_json::to_string(snapshot) {
                    say(&text);
                }
            }
        }
    }
}

fn details(snapshot: &Snapshot) -> String {
    let eta = match snapshot.remaining_seconds {
        Some(seconds) if snapshot.settled < snapshot.partitions => {
            format!(", {} to go", friendly(seconds))
        }
        _ => String::new(),
    };
    let failed = if snapshot.failed > 0 { format!(", {} failed", snapshot.failed) } else { String::new() };
    let quarantined = match snapshot.rows.quarantined {
        0 => String::new(),
        rows => format!(", {rows} rows quarantined"),
    };
    format!("{} running, {:.0} rows/s{failed}{quarantined}{eta}", snapshot.running, snapshot.rows_per_second)
}

fn friendly(seconds: f64) -> String {
    let seconds = seconds.ceil().clamp(0.0, 1e9) as u64;
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

fn bar(partitions: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(partitions).with_style(style)
}
