//! Keeps the local mirror at what the store has, for as long as the server
//! runs. What was fetched is loaded by the reloader, which sees a repository
//! like any other; this task only tells it to look.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::reload::{Reloader, ReloaderParts};
use crate::config::settings::ModelSettings;
use crate::config::{ProviderVariables, Settings};
use crate::lifecycle::{Lifecycle, Phase};
use crate::model::remote::{FetchError, Key, Mirror, Round, rate};
use crate::model::watch::look;
use crate::scoring::reload::Reloads;
use crate::store::{Location, Store, StoreError};

/// Shortest pause between two listings.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How long after a failure the store is asked again while there is nothing to serve.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// Looks that a version in change is waited for while others could be served.
const PATIENCE: usize = 5;

/// How often a fetch that takes long says how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Opens the mirror when the repository lies in blob storage. What it has is read
/// and checked: not for the threads of a runtime.
///
/// # Errors
/// The URL or the variables of the store can't be used, or the folder can't be.
pub fn open_mirror(settings: &Settings, variables: &ProviderVariables) -> Result<Option<Mirror>, FetchError> {
    let url = settings.models.path.to_string_lossy();
    if !Location::is_url(&url) {
        return Ok(None);
    }
    let store = Store::open(&Location::parse(&url)?, &settings.store, variables)?;
    Mirror::open(store, &settings.models.cache, &settings.models).map(Some)
}

/// Fetches a repository of which nothing is there yet, and then serves and
/// follows it.
pub(super) async fn fill_and_follow(mut remote: Remote, parts: ReloaderParts, lifecycle: Lifecycle) {
    remote.fill().await;
    // What can't be looked at now is found by the reloader's next look.
    let found = look(remote.mirror.folder()).unwrap_or_default();
    let reloader = Reloader::new(parts, &found);
    lifecycle.advance(Phase::Serving);
    tokio::join!(reloader.run(), remote.follow());
}

/// A mirror that is kept up to date.
pub(super) struct Remote {
    mirror: Mirror,
    interval: Duration,
    settle: Duration,
    reloads: Reloads,
    now: Arc<Notify>,
    /// What was complained about at the last round, to be said once.
    complaints: Vec<String>,
    is_away: bool,
}

impl Remote {
    /// `now` has the store looked at before the end of the interval.
    pub(super) fn new(mirror: Mirror, settings: &ModelSettings, reloads: Reloads, now: Arc<Notify>) -> Self {
        Self {
            mirror,
            interval: settings.fetch_interval,
            settle: settings.settle,
            reloads,
            now,
            complaints: Vec::new(),
            is_away: false,
        }
    }

    /// Whether there is something to serve from earlier.
    pub(super) fn has_versions(&self) -> bool {
        self.mirror.versions() > 0
    }

    /// Fetches until the folder has all that is complete in the store. While the
    /// store is away, it waits.
    pub(super) async fn fill(&mut self) {
        let mut patience = PATIENCE;
        loop {
            let pause = match self.round().await {
                // Nor must one that goes on changing.
                Some(round) if !round.unsettled.is_empty() && (patience > 0 || !self.has_versions()) => {
                    patience = patience.saturating_sub(1);
                    self.settle
                }
                // One bad version must not keep the others from being served.
                Some(round) if round.failed.is_empty() || self.has_versions() => return,
                Some(_) | None => self.interval.min(IMPATIENCE),
            };
            tokio::time::sleep(pause.max(SHORTEST_PAUSE)).await;
        }
    }

    /// Follows the store until it is dropped.
    pub(super) async fn follow(mut self) {
        loop {
            let pause = match self.round().await {
                Some(round) if !round.unsettled.is_empty() => self.settle.min(self.interval),
                _ => self.interval,
            };
            tokio::select! {
                () = tokio::time::sleep(pause.max(SHORTEST_PAUSE)) => {}
                () = self.now.notified() => {}
            }
        }
    }

    async fn round(&mut self) -> Option<Round> {
        let progress = self.mirror.progress();
        let (begun, (before, _)) = (tokio::time::Instant::now(), progress.bytes());
        let report = async {
            let mut ticks = tokio::time::interval_at(begun + REPORT_INTERVAL, REPORT_INTERVAL);
            loop {
                ticks.tick().await;
                let (received, expected) = progress.bytes();
                if received < expected {
                    let percent = 100 * received / expected;
                    tracing::info!("fetching models: {}, {percent}%", rate(received - before, begun.elapsed()));
                }
            }
        };
        let reloads = self.reloads.clone();
        let ended = {
            let round = self.mirror.round(move |_| reloads.look());
            tokio::select! {
                ended = round => ended,
                // It never ends.
                () = report => return None,
            }
        };
        match ended {
            Ok(round) => {
                self.told(&round);
                Some(round)
            }
            Err(error) => {
                self.away(&error);
                None
            }
        }
    }

    fn told(&mut self, round: &Round) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!("{} can be listed again", self.mirror.store().location());
        }
        for (model, version) in &round.removed {
            tracing::info!(model.name = %model, model.version = version, "the store no longer has the version");
            self.reloads.look();
        }
        let about = |((model, version), why): &(Key, String)| format!("{model}/{version} could not be fetched: {why}");
        let ignored = round.ignored.iter().map(|text| format!("passed over {text}"));
        let complaints: Vec<String> = round.failed.iter().map(about).chain(ignored).collect();
        for complaint in complaints.iter().filter(|complaint| !self.complaints.contains(complaint)) {
            tracing::warn!("{}: {complaint}", self.mirror.store().location());
        }
        self.complaints = complaints;
    }

    fn away(&mut self, error: &StoreError) {
        let goes_on = match self.has_versions() {
            true => "what was fetched before is served",
            false => "there is nothing to serve until it can be",
        };
        // Once per absence; the metrics count each.
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!("models can't be looked for; {goes_on}: {error}");
        }
    }
}
