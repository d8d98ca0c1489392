//! What a cache keeps over a restart, and what it throws away.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::model::Bundle;

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

/// What the folders of states hold.
fn contents(cache: &Cache) -> Vec<String> {
    let folders = fs::read_dir(cache.private("contents")).unwrap();
    let mut texts: Vec<String> =
        folders.map(|folder| fs::read_to_string(folder.unwrap().path().join("score.R")).unwrap()).collect();
    texts.sort();
    texts
}

#[test]
fn a_folder_that_somebody_serves_stays_however_often_it_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    let served = Bundle::open(&root.path().join("boston/1")).unwrap();
    for text in ["b", "c", "d"] {
        install(&mut cache, text);
        cache.sweep().unwrap();
        assert_eq!(contents(&cache), ["a", text]);
    }
    assert!(served.identity.still_holds());
    cache.remove(&key()).unwrap();
    cache.sweep().unwrap();
    assert_eq!(contents(&cache), ["a"], "one that was removed is served until it is drained");
    drop(cache);
    let cache = Cache::open(root.path(), LOCATION).unwrap();
    assert_eq!(contents(&cache), ["a"], "whoever serves it may be another process");
    let identity = served.identity.clone();
    drop(served);
    cache.sweep().unwrap();
    assert!(identity.still_holds());
    drop(identity);
    cache.sweep().unwrap();
    assert!(contents(&cache).is_empty());
    assert_eq!(fs::read_dir(cache.private("staging")).unwrap().count(), 0);
}

#[test]
fn what_can_not_be_linked_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    let (link, aside) = (root.path().join("boston/1"), root.path().join("boston/aside"));
    fs::rename(&link, &aside).unwrap();
    // A folder is in the way.
    fs::create_dir_all(link.join("deep")).unwrap();
    let staged = cache.stage();
    fs::create_dir_all(&staged).unwrap();
    fs::write(staged.join("score.R"), "b").unwrap();
    let digest = bundle::digest(&staged).unwrap();
    cache.install(&key(), &staged, vec![file("b")], digest).unwrap_err();
    cache.sweep().unwrap();
    fs::remove_dir_all(&link).unwrap();
    fs::rename(&aside, &link).unwrap();
    drop(cache);
    let cache = Cache::open(root.path(), LOCATION).unwrap();
    assert_eq!((cache.records()[&key()].files.as_slice(), read(&cache).as_deref()), (&[file("a")][..], Some("a")));
}

#[test]
fn a_link_that_was_not_made_any_more_is_made_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(root.path(), LOCATION).unwrap();
    install(&mut cache, "a");
    let before = fs::read_link(root.path().join("boston/1")).unwrap();
    install(&mut cache, "b");
    let records = cache.records().clone();
    for link in [Some(&before), None] {
        drop(cache);
        fs::remove_file(root.path().join("boston/1")).unwrap();
        if let Some(link) = link {
            symlink(link, root.path().join("boston/1")).unwrap();
        }
        cache = Cache::open(root.path(), LOCATION).unwrap();
        assert_eq!((cache.records(), read(&cache).as_deref()), (&records, Some("b")));
        assert_eq!(contents(&cache), ["b"]);
    }
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
