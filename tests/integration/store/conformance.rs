//! What every store must do alike, run on memory, local files, Azure's and S3's
//! emulators, and on the faulty store that the other tests use, without faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::TryStreamExt;
use object_store::memory::InMemory;
use rscore::config::ProviderVariables;
use rscore::config::settings::StoreSettings;
use rscore::store::{Location, ObjectInfo, PutOutcome, Store, StoreErrorKind};

use crate::support::emulators::Bucket;
use crate::support::faulty::{Fault, FaultyStore};

/// Larger than two parts of an upload.
const LARGE: usize = 20 * 1024 * 1024 + 1;

/// A store in memory; the location is only for errors.
pub fn in_memory() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), Location::parse("az://memory/root").unwrap())
}

#[tokio::test]
async fn memory_conforms() {
    conforms(in_memory()).await;
}

#[tokio::test]
async fn a_faulty_store_without_faults_conforms() {
    let store = FaultyStore::new(Arc::new(InMemory::new()), |_| Fault::None);
    conforms(Store::from_object_store(store, Location::parse("az://memory").unwrap())).await;
}

#[tokio::test]
async fn local_files_conform() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::parse(directory.path().join("not/there yet").to_str().unwrap()).unwrap();
    conforms(Store::open(&location, &StoreSettings::default(), &ProviderVariables::default()).unwrap()).await;
}

#[tokio::test]
async fn azure_conforms() {
    conforms(Bucket::azure().await.store()).await;
}

#[tokio::test]
async fn s3_conforms() {
    conforms(Bucket::s3().await.store()).await;
}

async fn conforms(store: Store) {
    creates_once(&store.below("creates").unwrap()).await;
    one_of_many_creates(&store.below("race").unwrap()).await;
    overwrites(&store.below("overwrites").unwrap()).await;
    reads(&store.below("reads").unwrap()).await;
    reads_what_has_the_etag(&store.below("etags").unwrap()).await;
    lists(&store.below("lists").unwrap()).await;
    deletes(&store.below("deletes").unwrap()).await;
    uploads(&store.below("uploads").unwrap()).await;
    refuses_paths(&store).await;
}

async fn creates_once(store: &Store) {
    assert_eq!(store.put_new("a/b", Bytes::from_static(b"first")).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_new("a/b", Bytes::from_static(b"second")).await.unwrap(), PutOutcome::Exists);
    assert_eq!(bytes(store, "a/b").await, "first");
    store.delete("a/b").await.unwrap();
    assert_eq!(store.put_new("a/b", Bytes::from_static(b"third")).await.unwrap(), PutOutcome::Created);
}

async fn one_of_many_creates(store: &Store) {
    let tries = (0..16).map(|number| {
        let body = Bytes::from(format!("writer {number}").repeat(1000));
        async move { (store.put_new("one", body.clone()).await.unwrap(), body) }
    });
    let outcomes = join_all(tries).await;
    let winners: Vec<_> = outcomes.iter().filter(|(outcome, _)| *outcome == PutOutcome::Created).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(bytes(store, "one").await, winners[0].1);
}

async fn overwrites(store: &Store) {
    let first = store.overwrite("x", Bytes::from_static(b"1")).await.unwrap();
    let second = store.overwrite("x", Bytes::from_static(b"2")).await.unwrap();
    assert!(first.is_some() && second.is_some());
    assert_ne!(first, second, "an etag changes with the object, even when the size does not");
    assert_eq!(bytes(store, "x").await, "2");
}

async fn reads(store: &Store) {
    let large: Bytes = (0..LARGE).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
    for body in [Bytes::new(), Bytes::from_static(b"x"), large.clone()] {
        store.overwrite("object", body.clone()).await.unwrap();
        let (info, got) = store.get("object", LARGE as u64).await.unwrap();
        assert!(got == body, "{} bytes", body.len());
        assert_eq!((info.path.as_str(), info.size), ("object", body.len() as u64));
    }
    let error = store.get("object", LARGE as u64 - 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
    assert_eq!(store.get_range("object", 1000..1003, None).await.unwrap(), large.slice(1000..1003));
    let error = store.get("nothing", 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("reads/nothing"), "{error}");
    assert_eq!(store.head("nothing").await.unwrap_err().kind(), StoreErrorKind::NotFound);
    // A folder is no object.
    store.overwrite("folder/object", Bytes::from_static(b"x")).await.unwrap();
    assert!(store.get("folder", 100).await.is_err());
}

async fn reads_what_has_the_etag(store: &Store) {
    let old = store.overwrite("x", Bytes::from_static(b"old")).await.unwrap();
    let (info, stream) = store.get_stream("x", old.as_deref()).await.unwrap();
    assert_eq!(info.etag, old);
    assert_eq!(stream.try_collect::<Vec<Bytes>>().await.unwrap().concat(), b"old");
    store.overwrite("x", Bytes::from_static(b"new")).await.unwrap();
    let error = store.get_stream("x", old.as_deref()).await.err().expect("it has another etag");
    assert_eq!(error.kind(), StoreErrorKind::Changed, "{error}");
    let error = store.get_range("x", 0..1, old.as_deref()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Changed, "{error}");
}

async fn lists(store: &Store) {
    assert_eq!(listed(store, "").await.len(), 0, "a folder that is not there is empty");
    let names = ["a", "a/b", "a/c/d", "ab", "with space", "per%cent", "plus+and=equals", "ünïcode", "tab,comma;semi"];
    let names = match store.location().local_path() {
        // What is a folder is no file.
        Some(_) => &names[1..],
        None => &names[..],
    };
    for name in names {
        store.overwrite(name, Bytes::from(name.to_string())).await.unwrap();
    }
    let all = listed(store, "").await;
    let mut expected: Vec<&str> = names.to_vec();
    expected.sort_unstable();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    for (name, info) in &all {
        let head = store.head(name).await.unwrap();
        assert_eq!((&head.path, head.size, &head.etag), (name, info.size, &info.etag));
        assert_eq!(bytes(store, name).await, name.as_bytes(), "{name}");
    }
    let below = listed(store, "a").await;
    assert_eq!(below.keys().map(String::as_str).collect::<Vec<_>>(), ["a/b", "a/c/d"], "'ab' is not in 'a'");
    assert_eq!(listed(&store.below("a").unwrap(), "c").await.keys().collect::<Vec<_>>(), ["c/d"]);
}

async fn deletes(store: &Store) {
    store.overwrite("x", Bytes::from_static(b"x")).await.unwrap();
    store.delete("x").await.unwrap();
    store.delete("x").await.unwrap();
    assert_eq!(store.head("x").await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

async fn uploads(store: &Store) {
    let large: Bytes = (0..LARGE).map(|byte| u8::try_from(byte % 253).unwrap()).collect();
    for body in [Bytes::new(), Bytes::from_static(b"small"), large.clone()] {
        let mut upload = store.upload("object").unwrap();
        for chunk in body.chunks(3 * 1024 * 1024) {
            upload.write(chunk).await.unwrap();
        }
        let etag = upload.finish().await.unwrap();
        let (info, got) = store.get("object", LARGE as u64).await.unwrap();
        assert!(got == body, "{} bytes", body.len());
        assert_eq!(info.etag, etag);
    }
    // What is not finished is not there.
    let mut upload = store.upload("other").unwrap();
    upload.write(&large).await.unwrap();
    assert_eq!(store.head("other").await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(listed(store, "").await.keys().collect::<Vec<_>>(), ["object"]);
    upload.abort().await.unwrap();
    assert_eq!(listed(store, "").await.keys().collect::<Vec<_>>(), ["object"]);
}

async fn refuses_paths(store: &Store) {
    for bad in ["", "..", "a/../b", "/a", "a//b", "a/", "a\\b", "a\0b"] {
        assert_eq!(store.head(bad).await.unwrap_err().kind(), StoreErrorKind::Invalid, "{bad:?}");
        assert_eq!(store.overwrite(bad, Bytes::new()).await.unwrap_err().kind(), StoreErrorKind::Invalid, "{bad:?}");
    }
}

async fn bytes(store: &Store, path: &str) -> Bytes {
    store.get(path, 1 << 20).await.unwrap().1
}

async fn listed(store: &Store, folder: &str) -> BTreeMap<String, ObjectInfo> {
    let listed: Vec<ObjectInfo> = store.list(folder).unwrap().try_collect().await.unwrap();
    listed.into_iter().map(|info| (info.path.clone(), info)).collect()
}
