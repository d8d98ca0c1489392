//! What a process leaves in a local folder that is killed in the middle of a
//! write: the file that would have been renamed, `name#1`. No listing shows it,
//! so that nobody takes it for an object; it costs space.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::Store;

/// Removes such files of these objects; gives how many there were. Nothing is done
/// for stores that keep no unfinished writes among the objects. A write that goes
/// on fails.
pub(super) fn remove(store: &Store, paths: &[String]) -> io::Result<usize> {
    let Some(root) = store.location().local_path() else { return Ok(0) };
    let paths: HashSet<&Path> = paths.iter().map(Path::new).collect();
    let folders: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    let mut removed = 0;
    for folder in folders {
        let entries = match std::fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let object = name.to_str().and_then(written);
            if object.is_some_and(|object| paths.contains(folder.join(object).as_path())) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The object that a file was to become.
fn written(name: &str) -> Option<&str> {
    let (object, number) = name.rsplit_once('#')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(object)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use super::*;
    use crate::config::ProviderVariables;
    use crate::config::settings::StoreSettings;
    use crate::store::Location;

    #[tokio::test]
    async fn what_a_killed_write_leaves_is_no_object_and_is_removed_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::parse(directory.path().to_str().unwrap()).unwrap();
        let variables = ProviderVariables::default();
        let store = Store::open(&location, &StoreSettings::default(), &variables).unwrap();
        store.overwrite("a/1.csv", Bytes::from_static(b"old")).await.unwrap();
        for path in ["a/1.csv", "a/1.csv", "a/2.csv"] {
            let mut upload = store.upload(path).unwrap();
            upload.write(&vec![b'x'; 9 << 20]).await.unwrap();
            // The end of a process runs no destructors.
            std::mem::forget(upload);
        }
        let files = || {
            let mut names: Vec<String> = std::fs::read_dir(directory.path().join("a"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(files(), ["1.csv", "1.csv#1", "1.csv#2", "2.csv#1"]);
        let listed: Vec<_> = store.list("").unwrap().try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), ["a/1.csv"]);
        let paths = ["a/1.csv", "gone/1.csv"].map(str::to_owned);
        assert_eq!(remove(&store, &paths).unwrap(), 2);
        assert_eq!(files(), ["1.csv", "2.csv#1"]);
        assert_eq!(store.get("a/1.csv", 10).await.unwrap().1, "old");
    }
}
