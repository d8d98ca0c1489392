//! The folder that a store's repository is mirrored into. It is a model
//! repository like any other, whose versions are symbolic links to folders that
//! never change once they are there: a new state of a version is another folder
//! and one renamed link, so that nobody sees half of either.
//!
//! ```text
//! boston/1 -> ../.rscore/contents/boston-1-6c1d7a31e8f0b2c4
//! .rscore/records/boston/1.json      where it came from, etags, digest
//! .rscore/staging/                   what is being fetched
//! .rscore/lock                       held by the process that fetches
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::listing::RemoteFile;
use super::{FetchError, Key};
use crate::model::bundle;
use crate::model::lease::take_alone;
use crate::model::repository::{is_model_name, version_number};

/// Folder of what is not for the repository's readers; they pass over it.
const PRIVATE: &str = ".rscore";

/// Hexadecimal digits of the digest in the name of a folder.
const SHORT_DIGEST: usize = 16;

/// What is known about a version that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The repository that it came from.
    pub(super) location: String,
    /// The store's listing of it.
    pub(super) files: Vec<RemoteFile>,
    /// SHA-256 over names and contents of all files, as for any bundle.
    pub(super) digest: String,
    /// Name of the folder with the files.
    pub(super) contents: String,
}

/// The folder, for the one process that writes to it.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    location: String,
    records: BTreeMap<Key, Record>,
    _lock: File,
}

impl Cache {
    /// Opens the folder, makes it when it is not there, and keeps of it what was
    /// fetched from `location` and still has its digest.
    ///
    /// # Errors
    /// It can't be written, is used by another process, or is somebody else's.
    pub(super) fn open(root: &Path, location: &str) -> Result<Self, FetchError> {
        let private = root.join(PRIVATE);
        let unusable = |source| FetchError::file(&private, source);
        let mut entries = entries(root).map_err(unusable)?.into_iter();
        // A volume that was just made has a folder of its file system.
        let is_foreign = !private.exists() && entries.any(|(name, _)| name != "lost+found");
        if is_foreign {
            return Err(FetchError::Unfit(format!(
                "{} has files that were not fetched from a store; name an empty folder, or one that is not there yet",
                root.display()
            )));
        }
        for folder in ["records", "contents", "staging"] {
            fs::create_dir_all(private.join(folder)).map_err(unusable)?;
        }
        let lock = File::create(private.join("lock")).map_err(unusable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(FetchError::Unfit(format!(
                "{} is used by another process that fetches models; give each a folder of its own",
                root.display()
            )));
        }
        let root = root.canonicalize().map_err(unusable)?;
        let mut cache = Self { root, location: location.to_owned(), records: BTreeMap::new(), _lock: lock };
        cache.restore().map_err(unusable)?;
        Ok(cache)
    }

    /// The repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What was fetched, by model and version.
    pub(super) fn records(&self) -> &BTreeMap<Key, Record> {
        &self.records
    }

    /// A new folder to fetch into; it is gone at the next start unless it is installed.
    pub(super) fn stage(&self) -> PathBuf {
        self.private("staging").join(Uuid::now_v7().simple().to_string())
    }

    /// Puts what was fetched into the repository, in place of what the version was.
    ///
    /// # Errors
    /// The folder can't be written.
    pub(super) fn install(
        &mut self,
        key: &Key,
        staged: &Path,
        files: Vec<RemoteFile>,
        digest: String,
    ) -> Result<(), FetchError> {
        let name = format!("{}-{}-{}", key.0, key.1, digest.get(..SHORT_DIGEST).unwrap_or(&digest));
        let contents = self.private("contents").join(&name);
        if contents.exists() {
            // The same bytes, uploaded again.
            fs::remove_dir_all(staged).map_err(|source| FetchError::file(staged, source))?;
        } else {
            fs::rename(staged, &contents).map_err(|source| FetchError::file(&contents, source))?;
        }
        let record = Record { location: self.location.clone(), files, digest, contents: name };
        // The record first: a link without one is thrown away at the next start, and one that
        // leads elsewhere is put right.
        self.write_record(key, &record).map_err(|source| FetchError::file(&self.record_path(key), source))?;
        if let Err(source) = self.link(key, &record.contents) {
            // What is linked stays what it was, and so must its record.
            let _ = match self.records.get(key) {
                Some(before) => self.write_record(key, before),
                None => remove_if_there(&self.record_path(key)),
            };
            return Err(FetchError::file(&self.link_path(key), source));
        }
        self.records.insert(key.clone(), record);
        Ok(())
    }

    /// Takes a version out of the repository.
    ///
    /// # Errors
    /// The folder can't be written.
    pub(super) fn remove(&mut self, key: &Key) -> Result<(), FetchError> {
        // The record first, as in `install`.
        let record = self.record_path(key);
        remove_if_there(&record).map_err(|source| FetchError::file(&record, source))?;
        let link = self.link_path(key);
        remove_if_there(&link).map_err(|source| FetchError::file(&link, source))?;
        // Only the last version of a model leaves its folder empty.
        let _ = fs::remove_dir(self.root.join(&key.0));
        self.records.remove(key);
        Ok(())
    }

    /// Removes the folders that are in no version's place any more, except those that
    /// somebody loads or serves: a generation whose successor could not be loaded
    /// goes on with its own for as long as it takes.
    ///
    /// # Errors
    /// The folder can't be written. What is left is tried again the next time.
    pub(super) fn sweep(&self) -> Result<(), FetchError> {
        let unused = self.remove_unused(false);
        unused.map_err(|source| FetchError::file(&self.private("contents"), source))
    }

    fn private(&self, folder: &str) -> PathBuf {
        self.root.join(PRIVATE).join(folder)
    }

    fn link_path(&self, key: &Key) -> PathBuf {
        self.root.join(&key.0).join(key.1.to_string())
    }

    fn record_path(&self, key: &Key) -> PathBuf {
        self.private("records").join(&key.0).join(format!("{}.json", key.1))
    }

    fn write_record(&self, key: &Key, record: &Record) -> io::Result<()> {
        let (path, staged) = (self.record_path(key), self.stage());
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file = File::create_new(&staged)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(staged, path)
    }

    fn link(&self, key: &Key, contents: &str) -> io::Result<()> {
        let (path, staged) = (self.link_path(key), self.stage());
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        symlink(Path::new("..").join(PRIVATE).join("contents").join(contents), &staged)?;
        fs::rename(&staged, path).inspect_err(|_| drop(fs::remove_file(&staged)))
    }

    /// Reads the records, and removes all that does not go with one.
    fn restore(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(self.private("staging"))? {
            remove_all(&entry?.path())?;
        }
        for (key, record) in self.read_records()? {
            match self.check(&key, &record) {
                Ok(()) => _ = self.records.insert(key, record),
                Err(why) => {
                    tracing::warn!(model.name = %key.0, model.version = key.1, "what was fetched before is not used: {why}");
                    remove_if_there(&self.record_path(&key))?;
                }
            }
        }
        for (key, link) in self.links()? {
            if !self.records.contains_key(&key) {
                remove_if_there(&link)?;
                let _ = fs::remove_dir(self.root.join(&key.0));
            }
        }
        self.remove_unused(true)
    }

    fn remove_unused(&self, at_start: bool) -> io::Result<()> {
        for (name, path) in entries(&self.private("contents"))? {
            if self.records.values().any(|record| record.contents == name) {
                continue;
            }
            // Held until the folder is gone.
            let alone = take_alone(&path);
            let is_kept = match &alone {
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                // No folder, or none that can be locked. This process holds none at its start.
                Err(_) => !at_start,
            };
            if !is_kept {
                // Out of its place first: half of it must never be taken for all of it.
                let gone = self.stage();
                fs::rename(&path, &gone)?;
                remove_all(&gone)?;
            }
        }
        Ok(())
    }

    /// Whether what was fetched is still there; puts its link right.
    fn check(&self, key: &Key, record: &Record) -> Result<(), String> {
        if record.location != self.location {
            return Err(format!("it came from {}", record.location));
        }
        let contents = self.private("contents").join(&record.contents);
        match bundle::digest(&contents) {
            Ok(digest) if digest == record.digest => {}
            Ok(digest) => return Err(format!("its files have the digest {digest}, and had {}", record.digest)),
            Err(error) => return Err(error.to_string()),
        }
        // A process that was killed between the two leaves a record whose link is an older one.
        match self.link_path(key).canonicalize() {
            Ok(found) if found == contents => Ok(()),
            _ => self.link(key, &record.contents).map_err(|error| format!("it can't be linked: {error}")),
        }
    }

    fn read_records(&self) -> io::Result<BTreeMap<Key, Record>> {
        let mut records = BTreeMap::new();
        for (model, folder) in entries(&self.private("records"))? {
            for (name, path) in entries(&folder)? {
                let number = name.strip_suffix(".json").and_then(version_number);
                let record = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
                match (number, record) {
                    (Some(number), Some(record)) if is_model_name(&model) => {
                        records.insert((model.clone(), number), record);
                    }
                    _ => remove_all(&path)?,
                }
            }
        }
        Ok(records)
    }

    fn links(&self) -> io::Result<Vec<(Key, PathBuf)>> {
        let mut links = Vec::new();
        for (model, folder) in entries(&self.root)?.into_iter().filter(|(name, _)| name != PRIVATE) {
            for (name, path) in entries(&folder)? {
                if let Some(number) = version_number(&name).filter(|_| path.is_symlink()) {
                    links.push(((model.clone(), number), path));
                }
            }
        }
        Ok(links)
    }
}

fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests;
