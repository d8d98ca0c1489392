//! What is in the store is what is served.

use rscore::model::Bundle;
use rscore::store::Location;
use rustix::process::Signal;

use super::{becomes, factor, put, setup};
use crate::support::client::Request;
use crate::support::emulators::Bucket;
use crate::support::eventually;
use crate::support::processes::send_signal;

#[tokio::test]
async fn azure_is_followed() {
    is_followed(Bucket::azure().await).await;
}

#[tokio::test]
async fn s3_is_followed() {
    is_followed(Bucket::s3().await).await;
}

async fn is_followed(bucket: Bucket) {
    let (store, cache) = (bucket.store(), tempfile::tempdir().unwrap());
    put(&store, 1, 2).await;
    let server = setup(&bucket, cache.path()).start().await;
    assert_eq!(factor(&server).await, 2.0, "it is there when the server is ready");
    let reply = server.send(Request::get("/models/scale")).await.json();
    let fetched = Bundle::open(&cache.path().join("scale/1")).unwrap();
    assert_eq!(reply["digest"], fetched.identity.digest.as_str(), "{reply}");

    put(&store, 2, 3).await;
    becomes(&server, 3.0).await;
    put(&store, 2, 4).await;
    becomes(&server, 4.0).await;
    for file in ["score.R", "rscore.toml"] {
        store.delete(&format!("scale/2/{file}")).await.unwrap();
    }
    becomes(&server, 2.0).await;

    let metrics = server.metrics().await;
    assert!(metrics.sum("rscore_model_fetch_bytes_total", &[]) > 0.0);
    assert!(metrics.sum("rscore_model_fetch_lists_total", &[("outcome", "ok")]) >= 4.0);
    assert!(metrics.sum("rscore_model_fetch_last_success_timestamp_seconds", &[]) > 1.7e9);
    let ready = server.operator("/readyz").await.json();
    assert_eq!(ready["repository"]["location"], Location::parse(&bucket.url).unwrap().to_string(), "{ready}");
    assert_eq!(ready["repository"]["state"], "current", "{ready}");
}

#[tokio::test]
async fn a_version_that_can_not_be_loaded_leaves_the_one_before() {
    let (bucket, cache) = (Bucket::s3().await, tempfile::tempdir().unwrap());
    let store = bucket.store();
    put(&store, 1, 2).await;
    let server = setup(&bucket, cache.path()).start().await;
    store.overwrite("scale/1/score.R", "score <- function(model, data) stop(".into()).await.unwrap();
    eventually("a failed reload", || async {
        let failed = server.metrics().await.sum("rscore_reloads_total", &[("model", "scale"), ("outcome", "failed")]);
        (failed > 0.0).then_some(())
    })
    .await;
    assert_eq!(factor(&server).await, 2.0);
    put(&store, 1, 5).await;
    becomes(&server, 5.0).await;
}

#[tokio::test]
async fn what_serves_stays_on_the_disk_however_many_bad_ones_follow() {
    let (bucket, cache) = (Bucket::s3().await, tempfile::tempdir().unwrap());
    let store = bucket.store();
    put(&store, 1, 2).await;
    let server = setup(&bucket, cache.path()).start().await;
    let first = server.zygote("scale").expect("a zygote");
    let folders = || std::fs::read_dir(cache.path().join(".rscore/contents")).unwrap().count();
    for bad in 1..=3 {
        let script = format!("score <- function(model, data) stop({bad}");
        store.overwrite("scale/1/score.R", script.into()).await.unwrap();
        eventually("a failed reload", || async {
            let failed =
                server.metrics().await.sum("rscore_reloads_total", &[("model", "scale"), ("outcome", "failed")]);
            (failed >= f64::from(bad)).then_some(())
        })
        .await;
        eventually("what serves and the newest alone", || async { (folders() == 2).then_some(()) }).await;
    }

    send_signal(first, Signal::KILL);
    eventually("another zygote", || async { server.zygote("scale").filter(|zygote| *zygote != first) }).await;
    eventually("a zygote that is ready", || async {
        let reply = server.send(Request::get("/models/scale")).await.json();
        (reply["zygote"]["restarts"] == 1).then_some(())
    })
    .await;
    assert_eq!(factor(&server).await, 2.0);
    put(&store, 1, 5).await;
    becomes(&server, 5.0).await;
    eventually("the newest alone", || async { (folders() == 1).then_some(()) }).await;
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_not_followed() {
    let (bucket, folder) = (Bucket::s3().await, tempfile::tempdir().unwrap());
    put(&bucket.store(), 1, 2).await;
    let server = setup(&bucket, &folder.path().join("deep/cache")).start().await;
    // The emulator takes any key as it is written.
    bucket.put_raw("scale/1/..%2F..%2F..%2F..%2Fevil.R", "evil").await;
    let problem = eventually("a problem with the listing", || async {
        let repository = server.operator("/readyz").await.json()["repository"].take();
        (repository["state"] == "away").then(|| repository["problems"][0].to_string())
    })
    .await;
    assert!(problem.contains(".."), "{problem}");
    assert_eq!(factor(&server).await, 2.0);
    let found: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(found, ["deep"]);
}
