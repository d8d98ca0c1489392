//! One attempt to load a version beside what serves: it ends with a generation
//! that proved fit, or with the reason why not.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::model::repository::Entry;
use crate::model::watch::{Fingerprint, fingerprint};
use crate::scoring::load::{LoadContext, LoadError, LoadedVersion, load_bundle, open};

/// How an attempt ended.
pub(super) enum Attempt {
    /// It may serve; how long loading took.
    Loaded(Box<LoadedVersion>, Duration),
    /// The folder has what is served already.
    Unchanged,
    /// It must not serve, and why.
    Failed(String),
}

/// Loads a version, unless its bundle has the digest `served`.
pub(super) async fn attempt(
    entry: Entry,
    served: Option<String>,
    context: &LoadContext,
    permits: &Semaphore,
) -> Attempt {
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    let started = Instant::now();
    match AssertUnwindSafe(load_unless(entry, served, context)).catch_unwind().await {
        Ok(Ok(Some(loaded))) => Attempt::Loaded(Box::new(loaded), started.elapsed()),
        Ok(Ok(None)) => Attempt::Unchanged,
        Ok(Err(reason)) => Attempt::Failed(reason),
        Err(_) => Attempt::Failed("loading it met a defect of the server; the log has the panic".to_owned()),
    }
}

async fn load_unless(
    entry: Entry,
    served: Option<String>,
    context: &LoadContext,
) -> Result<Option<LoadedVersion>, String> {
    let Entry { model, version, directory } = entry;
    let say = |error: LoadError| error.to_string();
    let before = look(&directory).await;
    let bundle = open(directory.clone()).await.map_err(say)?;
    if served.is_some_and(|served| served == bundle.digest) {
        return Ok(None);
    }
    let loaded = load_bundle(&model, version, bundle, context).await.map_err(say)?;
    // What was loaded may be half of this and half of that, and its digest a lie.
    if before != look(&directory).await {
        loaded.pool.stop().await;
        return Err("files of its folder changed while it was loaded; it is tried again when they have settled. A \
                    model must not write into its own folder"
            .to_owned());
    }
    Ok(Some(loaded))
}

async fn look(directory: &Path) -> Option<Fingerprint> {
    let directory = directory.to_owned();
    spawn_blocking(move || fingerprint(&directory)).await.ok()?.ok()?
}
