//! What a cache keeps over a restart, and what it throws away.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;

const LOCATION: &str = "az://models/";

fn key() -> Key {
    ("boston".to_owned(), 1)
}

fn file(etag: &str) -> RemoteFile {
    RemoteFile { name: "score.R".to_owned(), size: 1, etag: Some(etag.to_owned()) }
}

/// Installs a version with one file.
fn install(cache: &mut Cache, text: &str) {
    let staged = cache.stage();
    fs::create_dir_all(&staged).unwrap();
    fs::write(staged.join("score.R"), text).unwrap();
    let digest = bundle::digest(&staged).unwrap();
    cache.install(&key(), &staged, vec![file(text)], digest).unwrap();
}

fn read(cache: &Cache) -> Option<String> {
    fs::read_to_string(cache.root().join("boston/1/score.R")).ok()
}

#[test]
fn what_was_fetched_is_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    install(&mut cache, "b");
    let records = cache.records().clone();
    assert_eq!(read(&cache).as_deref(), Some("b"));
    drop(cache);
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    assert_eq!((cache.records(), read(&cache).as_deref()), (&records, Some("b")));
    assert_eq!(fs::read_dir(cache.private("contents")).unwrap().count(), 1, "what was replaced is gone");
    cache.remove(&key()).unwrap();
    assert_eq!(read(&cache), None);
    assert!(!root.path().join("boston").exists());
}

#[test]
fn the_folder_of_a_state_never_changes() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    let served = root.path().join("boston/1").canonicalize().unwrap();
    install(&mut cache, "b");
    assert_eq!(fs::read_to_string(served.join("score.R")).unwrap(), "a", "who serves it goes on reading it");
    install(&mut cache, "a");
    assert_eq!(read(&cache).as_deref(), Some("a"));
    assert_eq!(root.path().join("boston/1").canonicalize().unwrap(), served);
}

#[test]
fn what_was_tampered_with_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    fs::write(root.path().join("boston/1/score.R"), "x").unwrap();
    drop(cache);
    let cache = Cache::open(root.path(), LOCATION).unwrap();
    assert_eq!((cache.records().len(), read(&cache)), (0, None));
}

#[test]
fn what_came_from_elsewhere_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    drop(cache);
    let cache = Cache::open(root.path(), "az://other/").unwrap();
    assert_eq!((cache.records().len(), read(&cache)), (0, None));
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    fs::create_dir_all(cache.stage()).unwrap();
    fs::create_dir_all(cache.private("contents").join("boston-1-half")).unwrap();
    symlink("nowhere", root.path().join("boston/2")).unwrap();
    fs::write(cache.private("records").join("boston/3.json"), "{").unwrap();
    drop(cache);
    let cache = Cache::open(root.path(), LOCATION).unwrap();
    assert_eq!(read(&cache).as_deref(), Some("a"));
    assert_eq!(fs::read_dir(cache.private("staging")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(cache.private("contents")).unwrap().count(), 1);
    assert!(!root.path().join("boston/2").is_symlink());
    assert!(!cache.private("records").join("boston/3.json").exists());
}

#[test]
fn a_cache_has_one_user_and_no_files_of_others() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::open(root.path(), LOCATION).unwrap();
    let error = Cache::open(root.path(), LOCATION).unwrap_err();
    assert!(error.to_string().contains("used by another process"), "{error}");
    drop(cache);
    Cache::open(root.path(), LOCATION).unwrap();
    let own = tempfile::tempdir().unwrap();
    fs::create_dir_all(own.path().join("boston/1")).unwrap();
    let error = Cache::open(own.path(), LOCATION).unwrap_err();
    assert!(error.to_string().contains("not fetched from a store"), "{error}");
}
