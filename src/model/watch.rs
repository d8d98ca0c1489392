//! Notices what changed in the repository: looks at names, sizes, times and
//! inodes of files, and says which versions are to be loaded or are gone. A
//! change counts once two looks that lie apart found the same, so that a
//! folder which is still being copied is left alone. Looking, not inotify:
//! repositories lie on network file systems and behind the symbolic links of a
//! Kubernetes volume, where no events come.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

use super::repository::{self, Entry};

/// Most files that one look goes through, over all versions.
const MAX_FILES: usize = 100_000;

/// Deepest folder within a version; symbolic links can make circles.
const MAX_DEPTH: usize = 16;

/// What the files of a version look like from outside; equal as long as nothing
/// was written, replaced, added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Name of a model and number of a version.
pub type Key = (String, u32);

/// The versions that a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every version that has a file, with what its files look like.
    pub versions: BTreeMap<Key, (Entry, Fingerprint)>,
    /// Versions that could not be looked at, and why. They stay what they were.
    pub unknown: BTreeMap<Key, (Entry, String)>,
    /// Sentences about what was passed over.
    pub ignored: Vec<String>,
}

/// Something to be done about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its files are new, or others than those that were handed out before.
    Load(Entry),
    /// Its folder is gone.
    Remove(Key),
}

/// Turns looks into changes.
#[derive(Debug)]
pub struct Watcher {
    settle: Duration,
    versions: BTreeMap<Key, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// What was handed out last; nothing for a version that is not to be served.
    accepted: Option<Fingerprint>,
    /// Whether it is to be handed out again as it is.
    again: bool,
    /// What is there instead, and when that was first seen.
    candidate: Option<(Option<Fingerprint>, Instant)>,
}

/// Looks at every version of the repository.
///
/// # Errors
/// The repository or the folder of a model can't be read. Nothing is known then;
/// least of all that a version is gone.
pub fn look(root: &Path) -> io::Result<Snapshot> {
    let scan = repository::scan(root)?;
    let mut snapshot = Snapshot { ignored: scan.ignored, ..Snapshot::default() };
    let mut left = MAX_FILES;
    for entry in scan.entries {
        let key = (entry.model.clone(), entry.version);
        match fingerprint_within(&entry.directory, &mut left) {
            Ok(Some(fingerprint)) => drop(snapshot.versions.insert(key, (entry, fingerprint))),
            Ok(None) => {}
            Err(error) => drop(snapshot.unknown.insert(key, (entry, error.to_string()))),
        }
    }
    Ok(snapshot)
}

/// What the files of one version look like; nothing when it has none.
///
/// # Errors
/// Its files can't be looked at, or are too many.
pub fn fingerprint(directory: &Path) -> io::Result<Option<Fingerprint>> {
    fingerprint_within(directory, &mut MAX_FILES.clone())
}

/// What changes when a file is written or replaced.
pub fn stamp(metadata: &Metadata) -> [u64; 4] {
    let (seconds, nanoseconds) = (metadata.mtime().cast_unsigned(), metadata.mtime_nsec().cast_unsigned());
    [metadata.ino(), metadata.len(), seconds, nanoseconds]
}

fn fingerprint_within(directory: &Path, left: &mut usize) -> io::Result<Option<Fingerprint>> {
    let mut lines = Vec::new();
    list(directory, Path::new(""), MAX_DEPTH, left, &mut lines)?;
    if lines.is_empty() {
        return Ok(None);
    }
    lines.sort();
    let mut context = Context::new(&SHA256);
    for line in lines {
        context.update(&(line.len() as u64).to_le_bytes());
        context.update(&line);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    Ok(Some(Fingerprint(fingerprint)))
}

fn list(directory: &Path, prefix: &Path, depth: usize, left: &mut usize, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        *left = left.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("the repository has more than {MAX_FILES} files, which are too many to look at"))
        })?;
        let (path, name) = (entry.path(), prefix.join(entry.file_name()));
        // Symbolic links are followed: what they lead to is what is loaded.
        let metadata = std::fs::metadata(&path)?;
        if metadata.is_dir() {
            let depth = depth
                .checked_sub(1)
                .ok_or_else(|| io::Error::other(format!("{} is more than {MAX_DEPTH} folders deep", path.display())))?;
            list(&path, &name, depth, left, lines)?;
            continue;
        }
        let mut line = name.as_os_str().as_encoded_bytes().to_vec();
        for number in stamp(&metadata) {
            line.extend_from_slice(&number.to_le_bytes());
        }
        lines.push(line);
    }
    Ok(())
}

impl Watcher {
    /// Knows no version yet. A change must have looked the same for `settle`.
    pub fn new(settle: Duration) -> Self {
        Self { settle, versions: BTreeMap::new() }
    }

    /// Takes what is there for handed out, without waiting for it to settle.
    pub fn accept(&mut self, key: &Key, fingerprint: Fingerprint) {
        let watched = self.versions.entry(key.clone()).or_default();
        *watched = Watched { accepted: Some(fingerprint), again: false, candidate: None };
    }

    /// Has a version handed out again, once it is settled, although it did not change.
    pub fn forget(&mut self, key: &Key) {
        if let Some(watched) = self.versions.get_mut(key) {
            watched.again = true;
        }
    }

    /// Compares a look with those before.
    pub fn observe(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Change> {
        for key in snapshot.versions.keys() {
            self.versions.entry(key.clone()).or_default();
        }
        let mut changes = Vec::new();
        for (key, watched) in &mut self.versions {
            if snapshot.unknown.contains_key(key) {
                continue;
            }
            let found = snapshot.versions.get(key);
            let fingerprint = found.map(|(_, fingerprint)| *fingerprint);
            if fingerprint == watched.accepted && !watched.again {
                watched.candidate = None;
                continue;
            }
            match watched.candidate {
                Some((candidate, since)) if candidate == fingerprint => {
                    if now.saturating_duration_since(since) < self.settle {
                        continue;
                    }
                }
                _ => {
                    watched.candidate = Some((fingerprint, now));
                    // Nothing is compared with itself: a second look is always needed.
                    continue;
                }
            }
            *watched = Watched { accepted: fingerprint, again: false, candidate: None };
            changes.push(match found {
                Some((entry, _)) => Change::Load(entry.clone()),
                None => Change::Remove(key.clone()),
            });
        }
        self.versions.retain(|_, watched| watched.accepted.is_some() || watched.candidate.is_some());
        changes
    }

    /// Whether a change waits for another look.
    pub fn is_unsettled(&self) -> bool {
        self.versions.values().any(|watched| watched.candidate.is_some())
    }
}

#[cfg(test)]
mod tests;
