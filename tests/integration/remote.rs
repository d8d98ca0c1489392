//! Models that lie in blob storage: served from the emulators of Azure and S3
//! through the front door, with real R.

mod away;
mod command;
mod serving;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rscore::store::Store;
use serde_json::Value;

use crate::support::client::Request;
use crate::support::emulators::Bucket;
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::setup::Setup;

/// A script whose predictions tell which state of it scored.
fn script(factor: u32) -> String {
    format!("load <- function(dir) list()\nscore <- function(model, data) data$x * {factor}\n")
}

/// Writes the script of a version of the model 'scale'.
async fn put(store: &Store, version: u32, factor: u32) {
    let path = format!("scale/{version}/score.R");
    store.overwrite(&path, Bytes::from(script(factor))).await.unwrap();
    let manifest = "[columns]\nx = \"double\"\n";
    store.overwrite(&format!("scale/{version}/rscore.toml"), Bytes::from(manifest)).await.unwrap();
}

/// A server of what the bucket has, which looks often.
fn setup(bucket: &Bucket, cache: &Path) -> Setup {
    let mut setup = Setup::new().settings(|settings| {
        settings.models.path = bucket.url.clone().into();
        settings.models.cache = cache.to_owned();
        settings.models.fetch_interval = Duration::from_millis(100);
        settings.models.poll_interval = Duration::from_millis(50);
        settings.models.settle = Duration::from_millis(100);
        settings.store.max_retries = 0;
    });
    setup.variables = bucket.variables.clone();
    setup
}

/// What the default version of 'scale' makes of 1.
async fn factor(server: &Endpoint) -> Value {
    server.send(Request::predict("scale", r#"[{"x":1}]"#)).await.predictions().remove(0)
}

/// Waits until it makes that of it. All requests before are answered too.
async fn becomes(server: &Endpoint, expected: f64) {
    eventually(&format!("the factor {expected}"), || async { (factor(server).await == expected).then_some(()) }).await;
}
