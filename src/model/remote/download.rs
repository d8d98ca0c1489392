//! Fetches the files of one version into a folder, several at once, each only
//! if it is still the one that was listed.

use std::convert::Infallible;
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
    fetch(&folder, &version.files, staged, permits, progress).await?;
    let staged = staged.to_owned();
    let digest = spawn_blocking(move || {
        sync_folders(&staged).map_err(|source| FetchError::file(&staged, source))?;
        bundle::digest(&staged).map_err(|error| FetchError::Unfit(error.to_string()))
    });
    digest.await.map_err(|error| FetchError::Unfit(error.to_string()))?
}

/// Fetches files into a folder, several at once, each to a path where there is none.
/// After an error nothing is written any more.
///
/// # Errors
/// The first of the store's, [`StoreErrorKind::Changed`] among them, or of the disk.
pub async fn fetch(
    folder: &Store,
    files: &[RemoteFile],
    into: &Path,
    permits: &Semaphore,
    progress: &Progress,
) -> Result<(), FetchError> {
    let (writing, mut written) = mpsc::channel(1);
    let files = files.iter().map(|file| async {
        // The semaphore is never closed.
        let _permit = permits.acquire().await;
        fetch_one(folder, file, &into.join(&file.name), progress, writing.clone()).await
    });
    // The permits bound how many run.
    let mut files: FuturesUnordered<_> = files.collect();
    let fetched = async {
        while files.try_next().await?.is_some() {}
        Ok::<_, FetchError>(())
    };
    let fetched = fetched.await;
    // One file that failed ends the others, and each writer after the piece that it has.
    // Until all have ended, the folder must not be removed: they would make it again.
    drop(files);
    drop(writing);
    let _: Option<Infallible> = written.recv().await;
    fetched
}

/// `writing` lives as long as the file is written to.
async fn fetch_one(
    folder: &Store,
    file: &RemoteFile,
    path: &Path,
    progress: &Progress,
    writing: mpsc::Sender<Infallible>,
) -> Result<(), FetchError> {
    let (_, mut pieces) = folder.get_stream(&file.name, file.etag.as_deref()).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let target = path.to_owned();
    let writer = spawn_blocking(move || {
        let written = write(&target, receiver);
        drop(writing);
        written
    });
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::{Arc, mpsc as blocking};

    use object_store::memory::InMemory;

    use super::super::list;
    use super::*;
    use crate::store::Location;

    #[test]
    fn a_fetch_that_failed_has_ended_before_its_folder_is_removed() {
        // With one thread for what blocks, nothing is written before the test says so.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
        runtime.unwrap().block_on(async {
            let location = Location::parse("az://models/production").unwrap();
            let store = Store::from_object_store(Arc::new(InMemory::new()), location);
            for file in ["a", "b"] {
                store.overwrite(&format!("m/1/deep/{file}"), Bytes::from_static(b"x")).await.unwrap();
            }
            let key = ("m".to_owned(), 1);
            let mut version = list(&store, 10).await.unwrap().versions.remove(&key).unwrap();
            version.files[1].etag = Some("another".to_owned());

            let (release, released) = blocking::channel::<()>();
            let blocker = spawn_blocking(move || released.recv());
            let root = tempfile::tempdir().unwrap();
            let staged = root.path().join("staged");
            let folder = staged.clone();
            let fetch = tokio::spawn(async move {
                let (permits, progress) = (Semaphore::new(2), Progress::default());
                let error = download(&store, &key, &version, &folder, &permits, &progress).await.unwrap_err();
                fs::remove_dir_all(&folder).unwrap();
                error
            });
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            drop(release);
            let _ = blocker.await.unwrap();
            let error = fetch.await.unwrap();
            assert!(matches!(&error, FetchError::Store(error) if error.kind() == StoreErrorKind::Changed), "{error}");
            // What was begun before is over after this.
            spawn_blocking(|| {}).await.unwrap();
            assert!(!staged.exists(), "a writer made it again");
        });
    }
}
