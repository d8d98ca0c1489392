//! Fetches the files of one version into a folder, several at once, each only
//! if it is still the one that was listed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use super::listing::{RemoteFile, RemoteVersion};
use super::progress::Progress;
use super::{FetchError, Key};
use crate::model::bundle;
use crate::store::{Store, StoreError, StoreErrorKind};

/// Pieces of a file that wait to be written.
const PIECES: usize = 8;

/// Fetches a version into `staged`; gives its digest.
///
/// # Errors
/// The store's, [`StoreErrorKind::Changed`] among them, and those of the disk.
pub(super) async fn download(
    store: &Store,
    key: &Key,
    version: &RemoteVersion,
    staged: &Path,
    permits: &Semaphore,
    progress: &Progress,
) -> Result<String, FetchError> {
    let folder = store.below(&format!("{}/{}", key.0, key.1))?;
    fs::create_dir_all(staged).map_err(|source| FetchError::file(staged, source))?;
    let files = version.files.iter().map(|file| async {
        // The semaphore is never closed.
        let _permit = permits.acquire().await;
        fetch(&folder, file, &staged.join(&file.name), progress).await
    });
    // The permits bound how many run.
    let mut files: FuturesUnordered<_> = files.collect();
    while files.try_next().await?.is_some() {}
    let staged = staged.to_owned();
    let digest = spawn_blocking(move || {
        sync_folders(&staged).map_err(|source| FetchError::file(&staged, source))?;
        bundle::digest(&staged).map_err(|error| FetchError::Unfit(error.to_string()))
    });
    digest.await.map_err(|error| FetchError::Unfit(error.to_string()))?
}

async fn fetch(folder: &Store, file: &RemoteFile, path: &Path, progress: &Progress) -> Result<(), FetchError> {
    let (_, mut pieces) = folder.get_stream(&file.name, file.etag.as_deref()).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let target = path.to_owned();
    let writer = spawn_blocking(move || write(&target, receiver));
    let mut received = 0;
    while let Some(piece) = pieces.try_next().await? {
        received += piece.len() as u64;
        if received > file.size {
            break;
        }
        progress.received(piece.len());
        if sender.send(piece).await.is_err() {
            // The disk failed; the writer says how.
            break;
        }
    }
    drop(sender);
    let written = writer.await.map_err(|error| FetchError::Unfit(error.to_string()))?;
    written.map_err(|source| FetchError::file(path, source))?;
    match received == file.size {
        true => Ok(()),
        // Whoever is cut off may have been so by a proxy: it is tried again.
        false => Err(FetchError::Store(StoreError::new(
            StoreErrorKind::Unavailable,
            format!("{}/{}: {received} bytes came, {} were listed", folder.location(), file.name, file.size),
        ))),
    }
}

fn write(path: &Path, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create_new(path)?;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
    }
    file.sync_all()
}

/// Has the disk know all names below a folder, so that a power cut leaves no
/// version without a file.
fn sync_folders(folder: &Path) -> io::Result<()> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    Ok(())
}
