//! The store is away: what was fetched is served, and nothing else is needed.

use super::{becomes, factor, put, setup};
use crate::support::client::Request;
use crate::support::emulators::Bucket;
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::gateway::Gateway;

#[tokio::test]
async fn what_was_fetched_is_served_while_the_store_is_away() {
    let bucket = Bucket::azure().await;
    let (store, cache) = (bucket.store(), tempfile::tempdir().unwrap());
    let gateway = Gateway::to(bucket.address).await;
    put(&store, 1, 2).await;
    let server = setup(&bucket.behind(gateway.address), cache.path()).start().await;
    assert_eq!(factor(&server).await, 2.0);

    gateway.shut();
    gateway.turns_away().await;
    repository_state(&server, "away").await;
    assert_eq!(factor(&server).await, 2.0);
    assert_eq!(server.operator("/readyz").await.status, 200);
    put(&store, 1, 3).await;

    gateway.open();
    becomes(&server, 3.0).await;
    repository_state(&server, "current").await;
}

#[tokio::test]
async fn a_server_starts_from_what_was_fetched_before() {
    let bucket = Bucket::s3().await;
    let (store, cache) = (bucket.store(), tempfile::tempdir().unwrap());
    let gateway = Gateway::to(bucket.address).await;
    let bucket = bucket.behind(gateway.address);
    put(&store, 1, 2).await;
    drop(setup(&bucket, cache.path()).start().await);

    gateway.shut();
    put(&store, 1, 3).await;
    let server = setup(&bucket, cache.path()).start().await;
    assert_eq!(factor(&server).await, 2.0);
    assert_eq!(server.operator("/readyz").await.status, 200);
    gateway.open();
    becomes(&server, 3.0).await;
}

#[tokio::test]
async fn a_server_without_anything_waits_for_the_store() {
    let bucket = Bucket::azure().await;
    let (store, cache) = (bucket.store(), tempfile::tempdir().unwrap());
    let gateway = Gateway::to(bucket.address).await;
    put(&store, 1, 2).await;
    gateway.shut();
    let mut server = setup(&bucket.behind(gateway.address), cache.path()).begin().await;
    gateway.turns_away().await;
    let ready = server.operator("/readyz").await;
    assert_eq!((ready.status, &ready.json()["phase"]), (503, &"starting".into()));
    assert_eq!(server.operator("/livez").await.status, 200);
    for path in ["/models/scale/reload", "/models/scale/versions/1/reload?wait=true"] {
        let refused = server.send(Request::new("POST", path)).await;
        refused.is_problem(503, "unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"), "nobody would take it up before there are models");
    }
    gateway.open();
    server.loaded().await;
    assert_eq!(factor(&server).await, 2.0);
}

async fn repository_state(server: &Endpoint, state: &str) {
    eventually(&format!("the state '{state}'"), || async {
        (server.operator("/readyz").await.json()["repository"]["state"] == state).then_some(())
    })
    .await;
}
