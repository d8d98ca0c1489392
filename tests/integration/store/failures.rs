//! What callers see when a store fails: the kind that says whether to try again,
//! and no secret.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use rscore::config::ProviderVariables;
use rscore::config::settings::StoreSettings;
use rscore::store::{Location, PutOutcome, Store, StoreErrorKind};

use crate::support::emulators::Bucket;
use crate::support::faulty::{Fault, FaultyStore, Verb};

/// A store whose first creation of an object has a fault, and the store behind it.
fn first_creation(fault: Fault) -> (Store, Store) {
    let (inner, location) = (Arc::new(InMemory::new()), Location::parse("az://memory").unwrap());
    let mut faults = Some(fault);
    let faulty = FaultyStore::new(inner.clone(), move |call| match call.verb {
        Verb::Create => faults.take().unwrap_or(Fault::None),
        _ => Fault::None,
    });
    (Store::from_object_store(faulty, location.clone()), Store::from_object_store(inner, location))
}

async fn text(store: &Store) -> Option<Bytes> {
    store.get("x", 100).await.ok().map(|(_, bytes)| bytes)
}

#[tokio::test]
async fn a_lost_reply_is_an_error_and_the_object_is_there() {
    let (store, behind) = first_creation(Fault::LostReply);
    let error = store.put_new("x", Bytes::from_static(b"mine")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(text(&behind).await.unwrap(), "mine");
    assert_eq!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Exists);
}

#[tokio::test]
async fn a_refused_write_is_an_error_and_nothing_is_there() {
    let (store, behind) = first_creation(Fault::Refused);
    assert!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap_err().is_retryable());
    assert_eq!(text(&behind).await, None);
    assert_eq!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Created);
}

#[tokio::test]
async fn a_repeated_write_meets_itself() {
    let (store, behind) = first_creation(Fault::Repeated);
    assert_eq!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Exists);
    assert_eq!(text(&behind).await.unwrap(), "mine");
}

#[tokio::test]
async fn the_other_code_means_the_same() {
    let (store, behind) = first_creation(Fault::OtherCode);
    behind.overwrite("x", Bytes::from_static(b"theirs")).await.unwrap();
    assert_eq!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Exists);
    assert_eq!(text(&behind).await.unwrap(), "theirs");
}

#[tokio::test]
async fn a_late_write_arrives_after_its_error() {
    let (store, behind) = first_creation(Fault::Late);
    assert!(store.put_new("x", Bytes::from_static(b"mine")).await.unwrap_err().is_retryable());
    assert_eq!(text(&behind).await, None);
    assert_eq!(text(&store).await.unwrap(), "mine", "it arrives before the next call");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_can_be_given_up() {
    let (store, behind) = first_creation(Fault::Hangs);
    let put = store.put_new("x", Bytes::from_static(b"mine"));
    assert!(tokio::time::timeout(std::time::Duration::from_secs(60), put).await.is_err());
    assert_eq!(text(&behind).await, None);
}

#[tokio::test]
async fn wrong_keys_are_denied_and_never_repeated() {
    let bucket = Bucket::azure().await.with("AZURE_STORAGE_ACCOUNT_KEY", "c3dvcmRmaXNoc3dvcmRmaXNo");
    let error = bucket.store().overwrite("x", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("credentials in the environment"), "{error}");
    assert!(!error.to_string().contains("c3dvcmRmaXNo") && !error.to_string().contains('<'), "{error}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    for bucket in [Bucket::azure().await, Bucket::s3().await] {
        let url = format!("{}x", bucket.url);
        let store = Bucket { url: url.clone(), ..bucket }.store();
        for error in [
            store.put_new("x", Bytes::from_static(b"x")).await.unwrap_err(),
            store.overwrite("x", Bytes::from_static(b"x")).await.unwrap_err(),
            store.get("x", 1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}");
            assert!(error.to_string().starts_with(&format!("{url}/x: ")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_may_be_tried_again() {
    // Nobody accepts there.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for bucket in [Bucket::azure().await, Bucket::s3().await] {
        let store = bucket.behind(closed).store();
        let error = store.get("x", 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn files_that_are_being_written_are_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::parse(directory.path().to_str().unwrap()).unwrap();
    let store = Store::open(&location, &StoreSettings::default(), &ProviderVariables::default()).unwrap();
    // What a process leaves that was killed while it wrote.
    std::fs::write(directory.path().join("x#1"), "half").unwrap();
    assert_eq!(futures_util::StreamExt::count(store.list("").unwrap()).await, 0);
    assert_eq!(store.put_new("x", Bytes::from_static(b"whole")).await.unwrap(), PutOutcome::Created);
    assert_eq!(text(&store).await.unwrap(), "whole");
}
