//! What a store's listing says about the model repository in it: versions, and
//! the names, sizes and etags of their files. Names come from whoever may write
//! there, so that nothing is taken for a path which could lead elsewhere.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::model::repository::{is_model_name, version_number};
use crate::store::{ObjectInfo, Result, Store, StoreError, StoreErrorKind};

/// An object with this name in the folder of a version says that all its files
/// are there. It must be written last.
pub const MARKER: &str = "_SUCCESS";

/// Sentences about what was passed over, at most.
const MAX_IGNORED: usize = 20;

/// A file of a version, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Path below the folder of the version.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Changes with the contents.
    pub etag: Option<String>,
}

/// A version, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteVersion {
    /// Its files in order of their names; never empty.
    pub files: Vec<RemoteFile>,
    /// When the youngest of them was written.
    pub newest: SystemTime,
    /// When the marker was written, if there is one.
    pub marked: Option<SystemTime>,
}

/// What a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Versions by model and number.
    pub versions: BTreeMap<Key, RemoteVersion>,
    /// Sentences about what was passed over.
    pub ignored: Vec<String>,
}

impl RemoteVersion {
    /// Sum of the sizes, in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether the marker is there and younger than every file. One of the same time
    /// tells nothing: stores tell whole seconds, and the marker may be that of an
    /// earlier upload, in whose second another one began.
    pub fn is_marked_complete(&self) -> bool {
        self.marked.is_some_and(|marked| marked > self.newest)
    }
}

/// Lists the repository, of at most `max_files` objects.
///
/// # Errors
/// The store's, and [`StoreErrorKind::TooLarge`].
pub async fn list(store: &Store, max_files: usize) -> Result<Listing> {
    let mut objects = store.list("")?;
    let mut listed = Vec::new();
    while let Some(object) = objects.try_next().await? {
        if listed.len() == max_files {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!(
                    "{} has more than {max_files} objects, the limit of models.max_files; is it the folder of a model \
                     repository?",
                    store.location()
                ),
            ));
        }
        listed.push(object);
    }
    Ok(arrange(listed))
}

fn arrange(objects: Vec<ObjectInfo>) -> Listing {
    let mut listing = Listing::default();
    let mut ignored = Vec::new();
    for object in objects {
        match place(&object.path) {
            Place::File(key, name) => listing.add(key, name.to_owned(), object),
            Place::Tool => {}
            Place::Nowhere(why) => ignored.push(format!("{}: {why}", object.path.escape_debug())),
        }
    }
    for version in listing.versions.values_mut() {
        version.files.sort_by(|a, b| a.name.cmp(&b.name));
        drop_folder_markers(&mut version.files);
    }
    // What has a marker alone is no version.
    listing.versions.retain(|_, version| !version.files.is_empty());
    ignored.sort();
    ignored.truncate(MAX_IGNORED);
    Listing { ignored, ..listing }
}

impl Listing {
    fn add(&mut self, key: Key, name: String, object: ObjectInfo) {
        let empty = || RemoteVersion { files: Vec::new(), newest: SystemTime::UNIX_EPOCH, marked: None };
        let version = self.versions.entry(key).or_insert_with(empty);
        if name == MARKER {
            version.marked = Some(object.last_modified);
            return;
        }
        version.newest = version.newest.max(object.last_modified);
        version.files.push(RemoteFile { name, size: object.size, etag: object.etag });
    }
}

enum Place<'a> {
    File(Key, &'a str),
    /// Names that begin with `.` or `_` belong to tools, as in a local repository.
    Tool,
    Nowhere(&'static str),
}

fn place(path: &str) -> Place<'_> {
    let mut parts = path.splitn(3, '/');
    let (model, version, file) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if model.starts_with(['.', '_']) || version.is_some_and(|version| version.starts_with(['.', '_'])) {
        return Place::Tool;
    }
    let (Some(version), Some(file)) = (version, file) else {
        return Place::Nowhere("a file of a model lies in the folder of a version, such as boston/1/model.rds");
    };
    if !is_model_name(model) {
        return Place::Nowhere("a model's name has letters, digits, '.', '-' and '_'");
    }
    let Some(number) = version_number(version) else { return Place::Nowhere("a version is a positive integer") };
    let is_safe = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    match file.split('/').all(is_safe) {
        true => Place::File((model.to_owned(), number), file),
        false => Place::Nowhere("its name leads elsewhere"),
    }
}

/// Tools that show folders make empty objects with the folders' names.
fn drop_folder_markers(files: &mut Vec<RemoteFile>) {
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let is_folder =
        |name: &str| names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
    files.retain(|file| file.size > 0 || !is_folder(&file.name));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn object(path: &str, size: u64, seconds: u64) -> ObjectInfo {
        let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        ObjectInfo { path: path.to_owned(), size, etag: Some(format!("\"{size}\"")), last_modified }
    }

    #[test]
    fn versions_are_found_and_oddities_named() {
        let listing = arrange(vec![
            object("boston/2/score.R", 5, 7),
            object("boston/2/model.rds", 10, 9),
            object("boston/2/data", 0, 1),
            object("boston/2/data/levels.csv", 3, 1),
            object("iris/1/model.rds", 1, 1),
            object("iris/1/_SUCCESS", 0, 1),
            object("empty/1/_SUCCESS", 0, 1),
            object("_rscore/runs/x", 1, 1),
            object(".git/1/config", 1, 1),
            object("README.md", 1, 1),
            object("iris/latest/model.rds", 1, 1),
            object("iris/01/model.rds", 1, 1),
            object("bad name/1/model.rds", 1, 1),
        ]);
        let names = |key: (&str, u32)| -> Vec<&str> {
            let version = &listing.versions[&(key.0.to_owned(), key.1)];
            version.files.iter().map(|file| file.name.as_str()).collect()
        };
        assert_eq!(listing.versions.len(), 2);
        assert_eq!(names(("boston", 2)), ["data/levels.csv", "model.rds", "score.R"]);
        assert_eq!(names(("iris", 1)), ["model.rds"]);
        assert_eq!(listing.versions[&("boston".to_owned(), 2)].size(), 18);
        assert_eq!(listing.ignored.len(), 4, "{:?}", listing.ignored);
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_files() {
        for path in [
            "../1/model.rds",
            "boston/1/../../../etc/passwd",
            "boston/1/a/../../x",
            "boston/1/./x",
            "boston/1//etc/passwd",
            "boston/1/a\\..\\x",
            "boston/1/a\0b",
            "/boston/1/x",
            "boston/../1/x",
            "boston/1/",
        ] {
            assert_eq!(arrange(vec![object(path, 1, 1)]).versions.len(), 0, "{path:?}");
        }
    }

    #[test]
    fn a_marker_counts_when_it_is_younger_than_every_file() {
        let complete = |file: u64, marker: u64| {
            let listing = arrange(vec![object("m/1/model.rds", 1, file), object("m/1/_SUCCESS", 0, marker)]);
            listing.versions.values().all(RemoteVersion::is_marked_complete)
        };
        assert!(complete(5, 6));
        assert!(!complete(6, 5));
        assert!(!complete(5, 5), "the file may be the first of another upload");
    }
}
