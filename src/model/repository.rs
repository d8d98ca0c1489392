//! The model repository: a folder with a folder per model, and in it a folder
//! per version, named by a positive integer.

use std::io;
use std::path::{Path, PathBuf};

/// A version that the repository holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Model name.
    pub model: String,
    /// Version number.
    pub version: u32,
    /// Folder of the version.
    pub directory: PathBuf,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Versions in order of model and number.
    pub entries: Vec<Entry>,
    /// Sentences about what was passed over.
    pub ignored: Vec<String>,
}

/// Longest model name.
const MAX_NAME: usize = 128;

/// Lists the versions below `root`. Names that begin with `.` or `_` are passed
/// over in silence; they belong to tools.
///
/// # Errors
/// The folder can't be read.
pub fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for model in subfolders(root)? {
        let (name, directory) = model;
        if !is_model_name(&name) {
            scan.ignored.push(format!(
                "{}: a model's name has letters, digits, '.', '-' and '_' and at most {MAX_NAME} of them",
                directory.display()
            ));
            continue;
        }
        let before = scan.entries.len();
        for (version, directory) in subfolders(&directory)? {
            match version_number(&version) {
                Some(number) => scan.entries.push(Entry { model: name.clone(), version: number, directory }),
                None => scan.ignored.push(format!("{}: a version is a positive integer", directory.display())),
            }
        }
        if scan.entries.len() == before {
            scan.ignored.push(format!("{}: no version folder such as {name}/1", directory.display()));
        }
    }
    scan.entries.sort();
    scan.ignored.sort();
    Ok(scan)
}

/// Whether a text can name a model: it stands in URLs, scopes and metrics.
pub fn is_model_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The number that names a version: positive, and written as numbers are.
pub fn version_number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == name)
}

fn subfolders(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        if !name.starts_with(['.', '_']) && path.is_dir() {
            folders.push((name, path));
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn versions_are_found_and_oddities_named() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["boston/1", "boston/2", "boston/10", "boston/old", "iris/01", "bad name/1", ".git/1", "empty"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("README.md"), "x").unwrap();
        let scan = scan(root.path()).unwrap();
        let found: Vec<(&str, u32)> = scan.entries.iter().map(|entry| (entry.model.as_str(), entry.version)).collect();
        assert_eq!(found, [("boston", 1), ("boston", 2), ("boston", 10)]);
        assert_eq!(scan.ignored.len(), 5, "{:?}", scan.ignored);
    }

    #[test]
    fn a_missing_repository_is_an_error() {
        assert!(scan(Path::new("no/such/folder")).is_err());
    }
}
