//! `rscore models pull`: a copy of a store's repository in a folder.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output;
use crate::config::settings::ModelSettings;
use crate::model::remote::{Mirror, Progress, Round, rate};
use crate::store::{Store, StoreError};

/// Rounds in which a version may fail or change before it is given up.
const ROUNDS: usize = 10;

/// How often the bar moves.
const FRAME: Duration = Duration::from_millis(100);

/// Fetches all versions.
pub(super) async fn run(store: Store, directory: &Path, settings: &ModelSettings, draws: bool) -> ExitCode {
    // Checking what is there reads all of it; nothing else runs on this thread.
    let mut mirror = match Mirror::open(store, directory, settings) {
        Ok(mirror) => mirror,
        Err(error) => return output::fail(&error),
    };
    let bar = draws.then(|| tokio::spawn(draw(mirror.progress())));
    let started = Instant::now();
    let ended = fetch(&mut mirror, settings.settle).await;
    if let Some(bar) = bar {
        bar.abort();
        // The last frame is wiped by the bar's own end.
        let _ = bar.await;
    }
    let (received, _) = mirror.progress().bytes();
    let left = match ended {
        Ok(round) => round,
        Err(error) => return output::fail(&error),
    };
    for ignored in &left.ignored {
        output::complain(&format!("passed over {ignored}"));
    }
    for ((model, version), why) in &left.failed {
        output::complain(&format!("{model}/{version} could not be fetched: {why}"));
    }
    for (model, version) in &left.unsettled {
        output::complain(&format!("{model}/{version} goes on changing in the store and was not fetched"));
    }
    let text = format!(
        "{} has {} versions of {} ({})\n",
        directory.display(),
        mirror.versions(),
        mirror.store().location(),
        rate(received, started.elapsed())
    );
    match (output::print(&text), left.failed.is_empty() && left.unsettled.is_empty()) {
        (code, true) => code,
        (_, false) => ExitCode::FAILURE,
    }
}

/// Goes on until nothing is left to be fetched, or it is no use.
async fn fetch(mirror: &mut Mirror, settle: Duration) -> Result<Round, StoreError> {
    let mut rounds = 1;
    loop {
        let round = mirror.round(|_| {}).await?;
        if round.failed.is_empty() && round.unsettled.is_empty() || rounds == ROUNDS {
            return Ok(round);
        }
        rounds += 1;
        tokio::time::sleep(settle).await;
    }
}

async fn draw(progress: Arc<Progress>) {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let wipe = Wipe(bar);
    let mut frames = tokio::time::interval(FRAME);
    loop {
        frames.tick().await;
        let (received, expected) = progress.bytes();
        wipe.0.set_length(expected);
        wipe.0.set_position(received);
    }
}

/// Clears the bar's line however drawing ends.
struct Wipe(ProgressBar);

impl Drop for Wipe {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
