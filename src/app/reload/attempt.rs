//! One attempt to load a version beside what serves: it ends with a generation
//! that proved fit, or with the reason why not.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::model::repository::Entry;
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
pub(super) async fn attempt(entry: Entry, served: Option<String>, context: &LoadContext) -> Attempt {
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
    let bundle = open(directory).await.map_err(say)?;
    if served.is_some_and(|served| served == bundle.identity.digest) {
        return Ok(None);
    }
    load_bundle(&model, version, bundle, context).await.map(Some).map_err(say)
}
