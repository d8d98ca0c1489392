//! A model repository in blob storage, mirrored into a local folder. A
//! [`Mirror`] compares the store's listing with what it has, fetches what is new
//! or changed, and puts each version in place as a whole. When the store is
//! away, what was fetched stays. Loading is not its business: whoever watches
//! the folder sees an ordinary repository.

mod cache;
mod download;
mod listing;
mod progress;
mod status;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use tokio::sync::Semaphore;

use self::cache::Cache;
use self::download::download;
pub use self::download::fetch;
pub use self::listing::{Listing, MARKER, RemoteFile, RemoteVersion, list};
pub use self::progress::{Progress, rate, size};
use self::status::StatusSender;
pub use self::status::{SourceState, Status, StatusReader};
use crate::config::settings::ModelSettings;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;

/// Name of a model and number of a version.
pub type Key = (String, u32);

/// Versions that are fetched at once.
const VERSIONS_AT_ONCE: usize = 4;

/// An object that is older than this is not part of an upload that still goes
/// on. Far more than the clocks of a store and of this machine should differ.
const LONG_AGO: Duration = Duration::from_secs(10 * 60);

/// Why a version could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store failed, or has something else by now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder failed.
    #[error("{}: {source}", path.display())]
    File {
        /// What could not be written or read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It must not be fetched, or not into this folder.
    #[error("{0}")]
    Unfit(String),
}

impl FetchError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// What one comparison with the store came to.
#[derive(Debug, Default)]
pub struct Round {
    /// Versions that were fetched and are in place.
    pub fetched: Vec<Key>,
    /// Versions that the store no longer has.
    pub removed: Vec<Key>,
    /// Versions that may still be written to in the store.
    pub unsettled: Vec<Key>,
    /// Versions that could not be fetched, and why.
    pub failed: Vec<(Key, String)>,
    /// Sentences about what was passed over.
    pub ignored: Vec<String>,
}

/// The mirror of a repository in a store.
pub struct Mirror {
    store: Store,
    cache: Cache,
    max_files: usize,
    max_version_bytes: u64,
    settle: Duration,
    permits: Semaphore,
    progress: Arc<Progress>,
    status: StatusSender,
    /// What differs from what was fetched, and since when it looks so; nothing for
    /// a version that is gone.
    seen: BTreeMap<Key, (Option<Vec<RemoteFile>>, Instant)>,
}

impl Mirror {
    /// Opens the folder, and checks what it has against the digests that were
    /// recorded. Reads all of it: not for the threads of a runtime.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn open(store: Store, folder: &Path, settings: &ModelSettings) -> Result<Self, FetchError> {
        let cache = Cache::open(folder, &store.location().to_string())?;
        let progress = Arc::<Progress>::default();
        let status = StatusSender::new(store.location().to_string(), Arc::clone(&progress));
        Ok(Self {
            store,
            cache,
            max_files: settings.max_files,
            max_version_bytes: settings.max_version_bytes as u64,
            settle: settings.settle,
            permits: Semaphore::new(settings.fetch_concurrency),
            progress,
            status,
            seen: BTreeMap::new(),
        })
    }

    /// The folder that is a model repository.
    pub fn folder(&self) -> &Path {
        self.cache.root()
    }

    /// The repository in the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Versions that are in place.
    pub fn versions(&self) -> usize {
        self.cache.records().len()
    }

    /// What can be said about the mirror while it is at work.
    pub fn status(&self) -> StatusReader {
        self.status.reader()
    }

    /// How far fetching is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Compares with the store once, and fetches what differs and is complete: has
    /// a marker, was written long ago, or looked the same for `models.settle`.
    /// `installed` is called for each version that came into place. What was replaced
    /// goes once nobody serves it.
    ///
    /// # Errors
    /// The store can't be listed. Nothing changes then.
    pub async fn round(&mut self, installed: impl Fn(&Key)) -> Result<Round, StoreError> {
        let listing = list(&self.store, self.max_files).await.inspect_err(|error| {
            metrics::model_store_away();
            self.status.away(error);
        })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics::model_store_listed(now.as_secs_f64());
        let mut round = Round { ignored: listing.ignored.clone(), ..Round::default() };
        let wanted = self.wanted(&listing, Instant::now(), &mut round);
        if !wanted.is_empty() {
            self.status.fetching();
        }
        self.fetch(wanted, &mut round, installed).await;
        self.remove_what_is_gone(&listing, Instant::now(), &mut round);
        if let Err(error) = self.cache.sweep() {
            round.ignored.push(format!("folders of versions that were replaced: {error}"));
        }
        self.status.compared(&round, self.versions());
        Ok(round)
    }

    /// What is to be fetched now.
    fn wanted(&mut self, listing: &Listing, now: Instant, round: &mut Round) -> Vec<(Key, RemoteVersion)> {
        let mut wanted = Vec::new();
        for (key, version) in &listing.versions {
            if self.cache.records().get(key).is_some_and(|record| record.files == version.files) {
                self.seen.remove(key);
                continue;
            }
            if version.size() > self.max_version_bytes {
                let (size, limit) = (size(version.size()), size(self.max_version_bytes));
                round
                    .failed
                    .push((key.clone(), format!("{size} are over the limit of models.max_version_bytes, {limit}")));
                continue;
            }
            let was_written_long_ago = SystemTime::now().duration_since(version.newest).is_ok_and(|age| age > LONG_AGO);
            let is_stable = self.is_stable(key, Some(&version.files), now);
            if version.is_marked_complete() || was_written_long_ago || is_stable {
                wanted.push((key.clone(), version.clone()));
            } else {
                round.unsettled.push(key.clone());
            }
        }
        wanted
    }

    /// Whether the store has shown the same for long enough.
    fn is_stable(&mut self, key: &Key, files: Option<&Vec<RemoteFile>>, now: Instant) -> bool {
        match self.seen.get(key) {
            Some((seen, since)) if seen.as_ref() == files => now.duration_since(*since) >= self.settle,
            _ => {
                self.seen.insert(key.clone(), (files.cloned(), now));
                false
            }
        }
    }

    async fn fetch(&mut self, wanted: Vec<(Key, RemoteVersion)>, round: &mut Round, installed: impl Fn(&Key)) {
        let (store, permits, progress) = (&self.store, &self.permits, &self.progress);
        let staged: Vec<PathBuf> = wanted.iter().map(|_| self.cache.stage()).collect();
        let downloads = wanted.into_iter().zip(staged).map(|((key, version), staged)| async move {
            let started = Instant::now();
            tracing::info!(
                model.name = %key.0,
                model.version = key.1,
                "fetching {} files of {}",
                version.files.len(),
                size(version.size())
            );
            progress.expect(version.size());
            let downloaded = download(store, &key, &version, &staged, permits, progress).await;
            (key, version, staged, downloaded, started.elapsed())
        });
        let downloads: Vec<_> = downloads.collect();
        let mut downloads = stream::iter(downloads).buffer_unordered(VERSIONS_AT_ONCE);
        while let Some((key, version, staged, downloaded, took)) = downloads.next().await {
            let bytes = version.size();
            let fetched = downloaded.and_then(|digest| {
                self.cache.install(&key, &staged, version.files, digest.clone())?;
                Ok(digest)
            });
            match fetched {
                Ok(digest) => {
                    tracing::info!(
                        model.name = %key.0,
                        model.version = key.1,
                        model.digest = %digest,
                        "fetched {}",
                        rate(bytes, took)
                    );
                    metrics::model_fetched((&key.0, key.1), took);
                    self.seen.remove(&key);
                    installed(&key);
                    round.fetched.push(key);
                }
                Err(error) => {
                    // Half a version is of no use, and the next start removes what is left.
                    let _ = std::fs::remove_dir_all(&staged);
                    metrics::model_fetch_failed((&key.0, key.1));
                    round.failed.push((key, error.to_string()));
                }
            }
        }
    }

    /// Takes versions out of the folder that the store has no longer. A listing
    /// without any version is taken for a mistake: a wrong prefix or a container
    /// that was just made again must not end all service.
    fn remove_what_is_gone(&mut self, listing: &Listing, now: Instant, round: &mut Round) {
        let gone: Vec<Key> =
            self.cache.records().keys().filter(|key| !listing.versions.contains_key(*key)).cloned().collect();
        if listing.versions.is_empty() && !gone.is_empty() {
            round.ignored.push(format!(
                "{} has no version of any model; those that were fetched before are kept",
                self.store.location()
            ));
            return;
        }
        for key in gone {
            if !self.is_stable(&key, None, now) {
                round.unsettled.push(key);
                continue;
            }
            match self.cache.remove(&key) {
                Ok(()) => {
                    self.seen.remove(&key);
                    round.removed.push(key);
                }
                Err(error) => round.failed.push((key, error.to_string())),
            }
        }
        let (records, versions) = (self.cache.records(), &listing.versions);
        self.seen.retain(|key, _| records.contains_key(key) || versions.contains_key(key));
    }
}

#[cfg(test)]
mod tests;
