//! What the server tells about its models.

use serde_json::json;

use super::harness::{Request, Scripted, Setup};
use crate::scoring::catalog::State;

fn setup() -> Setup {
    let setup = Setup::new().model("double", 2, Scripted::doubling());
    setup.catalog.set("broken", 7, State::Failed { reason: "model.rds is not an RDS file".into() });
    setup.catalog.set("broken", 8, State::Loading);
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_every_model_with_its_versions() {
    let server = setup().start().await;
    let expected = json!({"models": [
        {"name": "broken", "versions": [{"version": 7, "state": "failed"}, {"version": 8, "state": "loading"}], "default_version": 8},
        {"name": "double", "versions": [{"version": 1, "state": "ready"}, {"version": 2, "state": "ready"}], "default_version": 2},
    ]});
    assert_eq!(server.send(Request::get("/models")).await.json(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn details_of_a_version_that_is_ready() {
    let server = setup().start().await;
    let reply = server.send(Request::get("/models/double")).await;
    let details = reply.json();
    assert_eq!(details["version"], 2);
    let expected = json!({
        "name": "double", "version": 1, "state": "ready", "description": "doubles x", "class": ["lm"],
        "packages": [{"name": "stats", "version": "4.2.2"}], "digest": "ab".repeat(32), "timeout": 20.0,
        "inputs": {"data": {
            "columns": [{"name": "x", "type": "double", "nullable": false, "levels": [], "unknown_level": "error"}],
            "unknown_columns": "error",
        }},
        "sample": [{"x": 1.5}], "workers_ready": 1, "workers": {"idle": 1, "busy": 0, "ended": {}}, "zygote": {"state": "ready", "restarts": 0}, "loading": false, "joins_requests": false, "row_independence": {"state": "denied"},
        "versions": [{"version": 1, "state": "ready"}, {"version": 2, "state": "ready"}], "default_version": 2,
    });
    let reply = server.send(Request::get("/models/double/versions/1")).await;
    assert_eq!(reply.json(), expected);
    assert!(reply.text().contains("[{\"x\": 1.50}]"), "the sample is shown as it stands: {}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_failed_says_why() {
    let server = setup().start().await;
    let details = server.send(Request::get("/models/broken/versions/7")).await.json();
    assert_eq!((&details["state"], &details["reason"]), (&json!("failed"), &json!("model.rds is not an RDS file")));
    assert_eq!(server.send(Request::get("/models/broken")).await.json()["state"], "loading");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404() {
    let server = setup().start().await;
    for path in ["/models/none", "/models/double/versions/3", "/models/double/versions/one", "/models/none/versions/1"]
    {
        server.send(Request::get(path)).await.is_problem(404, "not-found");
    }
}
