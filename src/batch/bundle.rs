//! A bundle that lies in a store: brought to this machine before it is loaded.

use std::path::{Path, PathBuf};

use futures_util::stream::TryStreamExt;
use tokio::io::AsyncWriteExt;

use crate::store::{Store, StoreError, StoreErrorKind};

/// Most files of a bundle.
const MAX_FILES: usize = 10_000;

/// Most bytes of a bundle.
const MAX_BYTES: u64 = 16 << 30;

/// Copies all that lies in a store's folder into one here, which is named like it:
/// name and version of the model are read off the path.
///
/// # Errors
/// The store's, a folder that is empty or too large, or a file that can't be written.
pub async fn bring(store: &Store, below: &Path) -> Result<PathBuf, StoreError> {
    let location = store.location();
    let local = |error: std::io::Error| StoreError::new(StoreErrorKind::Failed, format!("{location}: {error}"));
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
    for object in objects {
        // A name that leads out of the folder is refused.
        location.join(&object.path)?;
        let path = folder.join(&object.path);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(local)?;
        }
        let mut file = tokio::fs::File::create(&path).await.map_err(local)?;
        let (_, mut stream) = store.get_stream(&object.path, object.etag.as_deref()).await?;
        while let Some(piece) = stream.try_next().await? {
            file.write_all(&piece).await.map_err(local)?;
        }
        file.flush().await.map_err(local)?;
    }
    Ok(folder)
}
