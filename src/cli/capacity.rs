//! `rscore capacity`: how much one model can carry on this machine, and what to
//! ask of a cluster for it. Callers are simulated behind the doors: what is
//! measured is queue, workers and R, without HTTP.

mod chart;
mod load;
mod recommend;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::load::Level;
use super::trial::TrialArguments;
use super::{output, trial};
use crate::config::Settings;
use crate::pool::memory;
use crate::scoring::load::load as load_version;

/// Measure how many requests a model can answer here, and what to ask of a cluster for it
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore capacity models/boston/1\n  \
    rscore capacity models/boston/1 --rows 100 --callers 1,4,16 --chart capacity.svg")]
pub struct CapacityArguments {
    /// What is measured.
    #[command(flatten)]
    pub trial: TrialArguments,
    /// Rows of each request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rows: u32,
    /// Numbers of callers that call at once, each as soon as it has its answer
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [1, 2, 4, 8, 16, 32, 64, 128],
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    callers: Vec<u32>,
    /// Seconds for each number of callers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Write a chart of the result to this file (SVG)
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

/// What was measured.
struct Measured {
    model: String,
    version: u32,
    workers: usize,
    rows: u32,
    levels: Vec<Level>,
    /// Memory of all processes of the model under the highest load, in bytes; what
    /// they share counts once.
    memory: u64,
    /// Of it, what the process that forks the workers has.
    zygote: u64,
}

/// Measures, and prints the report.
pub fn run(arguments: &CapacityArguments, settings: Settings) -> ExitCode {
    let directory = &arguments.trial.directory;
    let measured = trial::run(async {
        measure(arguments, &settings).await.map_err(|reason| format!("{}: {reason}", directory.display()))
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(code) => return code,
    };
    if let Some(path) = &arguments.chart
        && let Err(error) = chart::draw(&measured, path)
    {
        return output::fail(&format!("the chart can't be written to {}: {error}", path.display()));
    }
    output::print(&report::render(&measured, recommend::recommend(&measured)))
}

async fn measure(arguments: &CapacityArguments, settings: &Settings) -> Result<Measured, String> {
    let directory = &arguments.trial.directory;
    let (model, version) = trial::model_and_version(directory);
    let progress = progress(arguments.callers.len());
    show(&progress, format!("loading {model}"));
    let context = trial::context(settings, usize::MAX)?;
    let loaded = load_version(&model, version, directory.clone(), &context)
        .await
        .map_err(|error| format!("can't be served: {error}"))?;
    let inputs = trial::inputs(&loaded, arguments.rows as usize)?
        .ok_or("rows to score can't be made up: give it a sample.json of one input")?;
    let mut levels = Vec::new();
    for &callers in &arguments.callers {
        show(&progress, format!("{callers} callers"));
        let time = Duration::from_secs(arguments.seconds);
        levels.push(load::measure(&loaded, &inputs, callers, time).await?);
        progress.inc(1);
    }
    let memory = loaded.pool.process_ids().into_iter().map(memory::proportional_bytes).sum();
    let zygote = trial::zygote_bytes(&loaded);
    let workers = context.upkeep.sizing.workers_beside(zygote);
    progress.finish_and_clear();
    loaded.pool.stop().await;
    Ok(Measured { model, version, workers, rows: arguments.rows, levels, memory, zygote })
}

/// Says what is begun: beside the bar on a terminal, in a line elsewhere.
fn show(progress: &ProgressBar, what: String) {
    if progress.is_hidden() {
        output::say(&format!("{what}, {} of {} measured", progress.position(), progress.length().unwrap_or_default()));
    } else {
        progress.set_message(what);
    }
}

/// A bar on a terminal.
fn progress(levels: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (about {eta} left)")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(levels as u64).with_style(style)
}
