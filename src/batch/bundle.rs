//! A bundle that lies in a store: brought to this machine before it is loaded.

use std::path::{Path, PathBuf};

use futures_util::stream::TryStreamExt;
use tokio::sync::Semaphore;

use crate::model::remote::{FetchError, Progress, RemoteFile, fetch};
use crate::store::{ObjectInfo, Store, StoreError, StoreErrorKind};

/// Most files of a bundle.
const MAX_FILES: usize = 10_000;

/// Most bytes of a bundle.
const MAX_BYTES: u64 = 16 << 30;

/// Files that are fetched at once.
const FETCHES: usize = 4;

/// Copies all that lies in a store's folder into one here, which is named like it:
/// name and version of the model are read off the path.
///
/// # Errors
/// The store's, a folder that is empty or too large, or a file that can't be written.
pub async fn bring(store: &Store, below: &Path) -> Result<PathBuf, StoreError> {
    let location = store.location();
    let mut names: Vec<&str> = location.path().rsplit('/').take(2).collect();
    names.reverse();
    let folder = below.join(names.join("/"));
    let objects: Vec<_> = store.list("")?.try_collect().await?;
    if objects.is_empty() {
        return Err(StoreError::new(StoreErrorKind::NotFound, format!("{location}: there is nothing")));
    }
    let bytes: u64 = objects.iter().map(|object| object.size).sum();
    if objects.len() > MAX_FILES || bytes > MAX_BYTES {
        let problem = format!("{location}: {} files with {bytes} bytes are no bundle", objects.len());
        return Err(StoreError::new(StoreErrorKind::TooLarge, problem));
    }
    let mut files = Vec::with_capacity(objects.len());
    for ObjectInfo { path: name, size, etag, .. } in objects {
        // A name that leads out of the folder is refused.
        location.join(&name)?;
        files.push(RemoteFile { name, size, etag });
    }
    let fetched = fetch(store, &files, &folder, &Semaphore::new(FETCHES), &Progress::default()).await;
    fetched.map_err(|error| match error {
        FetchError::Store(error) => error,
        // Another machine, or another day, has the space.
        FetchError::File { source, .. } if is_space(&source) => {
            StoreError::new(StoreErrorKind::Unavailable, format!("{location}: {source}"))
        }
        other => StoreError::new(StoreErrorKind::Failed, format!("{location}: {other}")),
    })?;
    Ok(folder)
}

/// Whether a file could not be written for want of space.
fn is_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
