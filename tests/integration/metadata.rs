//! What a caller can learn about models, and what every answer carries.

use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

static SERVER: Shared = Shared::new();

const MANIFEST: &str = r#"
description = "Twice the area"
timeout = "1500ms"
[columns]
area = { type = "double", nullable = false }
kind = { type = "factor", levels = ["flat", "house"], unknown_level = "na" }
"#;

fn setup() -> Setup {
    let sample = r#"[{"area": 1.50, "kind": "flat"}]"#;
    let setup = Setup::new()
        .script("homes", "score <- function(model, data) 2 * data$area")
        .file("homes", "rscore.toml", MANIFEST)
        .file("homes", "sample.json", sample)
        .file("homes", "expected.json", "[3]")
        .train("cars", "lm(mpg ~ wt + factor(gear), within(mtcars, gear <- as.character(gear)))")
        .file("broken", "score.R", "stop('weights.bin is missing')");
    setup.repository.write(
        "homes",
        3,
        "score.R",
        "load <- function(dir) list()\nscore <- function(model, data) 3 * data$area",
    );
    setup
}

async fn server() -> std::sync::Arc<TestServer> {
    SERVER.get(setup).await
}

async fn get(path: &str) -> Value {
    let reply = server().await.send(Request::get(path)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

#[tokio::test]
async fn all_models_are_listed_with_the_states_of_their_versions() {
    let ready = |version| json!({"version": version, "state": "ready"});
    assert_eq!(
        get("/models").await,
        json!({"models": [
            {"name": "broken", "versions": [{"version": 1, "state": "failed"}], "default_version": 1},
            {"name": "cars", "versions": [ready(1)], "default_version": 1},
            {"name": "homes", "versions": [ready(1), ready(3)], "default_version": 3},
        ]})
    );
}

#[tokio::test]
async fn a_version_says_all_that_is_needed_to_use_it() {
    let mut details = get("/models/homes/versions/1").await;
    let digest = details.as_object_mut().unwrap().remove("digest").unwrap();
    let loaded_at = details.as_object_mut().unwrap().remove("loaded_at").unwrap();
    assert!(loaded_at.as_str().is_some_and(|time| time.ends_with('Z')), "{loaded_at}");
    assert!(digest.as_str().is_some_and(|digest| digest.len() == 64), "{digest}");
    let column = |name, kind, nullable, levels: Value, unknown_level| json!({"name": name, "type": kind, "nullable": nullable, "levels": levels, "unknown_level": unknown_level});
    assert_eq!(
        details,
        json!({
            "name": "homes", "version": 1, "state": "ready", "description": "Twice the area", "class": ["list"],
            "packages": [], "timeout": 1.5, "sample": [{"area": 1.5, "kind": "flat"}], "workers_ready": 1,
            "workers": {"idle": 1, "busy": 0, "ended": {}}, "zygote": {"state": "ready", "restarts": 0}, "generation": 1, "loading": false,
            "joins_requests": false,
            "row_independence": {
                "state": "not_proved", "reason": "the scoring script does not declare row_independent = true",
            },
            "inputs": {"data": {
                "columns": [
                    column("area", "double", false, json!([]), "error"),
                    column("kind", "factor", true, json!(["flat", "house"]), "na"),
                ],
                "unknown_columns": "error",
            }},
            "versions": [{"version": 1, "state": "ready"}, {"version": 3, "state": "ready"}], "default_version": 3,
        })
    );
}

#[tokio::test]
async fn the_schema_is_read_off_the_model() {
    let details = get("/models/cars").await;
    assert_eq!((&details["class"], &details["version"]), (&json!(["lm"]), &json!(1)));
    let columns = details["inputs"]["data"]["columns"].as_array().unwrap();
    let summary: Vec<(&str, &str)> =
        columns.iter().map(|column| (column["name"].as_str().unwrap(), column["type"].as_str().unwrap())).collect();
    assert_eq!(summary, [("wt", "double"), ("gear", "any")]);
}

#[tokio::test]
async fn the_highest_version_is_scored_unless_another_is_asked_for() {
    let server = server().await;
    for (path, version, expected) in
        [("/models/homes", 3, 6.0), ("/models/homes/versions/3", 3, 6.0), ("/models/homes/versions/1", 1, 4.0)]
    {
        let reply = server.send(Request::post(&format!("{path}/predict"), r#"[{"area": 2}]"#)).await;
        assert_eq!(reply.predictions(), [expected]);
        assert_eq!((&reply.json()["model"], &reply.json()["version"]), (&json!("homes"), &json!(version)));
        assert_eq!(get(path).await["version"], version);
    }
}

#[tokio::test]
async fn a_version_that_failed_says_why() {
    let details = get("/models/broken").await;
    assert_eq!(details["state"], "failed");
    assert!(details["reason"].as_str().unwrap().contains("weights.bin is missing"), "{details}");
    assert!(details.get("inputs").is_none(), "nothing is known of it: {details}");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = server().await;
    let get = server.send(Request::get("/models")).await;
    let head = server.send(Request::new("HEAD", "/models")).await;
    assert_eq!((head.status, head.header("content-length")), (200, get.header("content-length")));
}

#[tokio::test]
async fn an_answer_names_its_request_and_where_its_time_went() {
    let server = server().await;
    let request = Request::predict("homes", r#"[{"area": 2}]"#);
    let reply = server.send(request.clone().header("X-Request-Id", "mine-1")).await;
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    let timing = reply.header("server-timing").unwrap();
    let stages: Vec<&str> = timing.split(", ").filter_map(|entry| entry.split(";dur=").next()).collect();
    assert_eq!(stages, ["decode", "queue", "convert", "score", "encode"], "{timing}");
    let ids = [server.send(request.clone()).await, server.send(request).await];
    let ids: Vec<&str> = ids.iter().map(|reply| reply.header("x-request-id").unwrap()).collect();
    assert_ne!(ids[0], ids[1], "each has an id of its own");
}

#[tokio::test]
async fn the_operator_sees_models_and_workers() {
    let server = server().await;
    let metrics = server.metrics().await;
    let homes = [("model", "homes"), ("version", "3")];
    assert_eq!(metrics.sum("rscore_model_info", &homes), 1.0);
    assert!(metrics.sum("rscore_model_load_seconds", &homes) > 0.0);
    assert_eq!(metrics.sum("rscore_workers", &homes), 1.0);
    assert!(metrics.sum("rscore_worker_rss_bytes", &homes) > 1e6);
    assert_eq!(metrics.sum("rscore_build_info", &[]), 1.0);
    let callers = server.send(Request::get("/metrics")).await;
    callers.is_problem(404, "not-found");
}
