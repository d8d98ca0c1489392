//! Probes and metrics.

use std::sync::atomic::Ordering;

use super::harness::{Scripted, Setup};
use crate::lifecycle::Phase;
use crate::scoring::catalog::State;

fn failed() -> State {
    State::Failed { reason: "no".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_when_every_default_version_can_score() {
    let scripted = Scripted::doubling();
    let setup = Setup { phase: Phase::Starting, ..Setup::new() }.model("other", 1, scripted.clone());
    let server = setup.start().await;
    let reply = server.operator("/readyz").await;
    assert_eq!((reply.status, &reply.json()["phase"]), (503, &"starting".into()));
    server.lifecycle.advance(Phase::Serving);
    let reply = server.operator("/readyz").await;
    assert_eq!((reply.status, &reply.json()["ready"]), (200, &true.into()), "{}", reply.text());

    scripted.ready.store(0, Ordering::Relaxed);
    let reply = server.operator("/readyz").await;
    assert_eq!((reply.status, &reply.json()["models"][1]["workers_ready"]), (503, &0.into()));
    scripted.ready.store(2, Ordering::Relaxed);
    assert_eq!(server.operator("/readyz").await.status, 200);

    server.catalog.set("other", 2, State::Loading);
    assert_eq!(server.operator("/readyz").await.status, 200, "while it is loading, version 1 is the default");
    server.catalog.await_first("other", 3);
    assert_eq!(server.operator("/readyz").await.status, 503, "the server was started with version 3");
    server.catalog.fail("other", 3, "no");
    server.catalog.set(
        "other",
        2,
        State::Ready { info: std::sync::Arc::new(super::harness::info()), scorer: Scripted::doubling() },
    );
    assert_eq!(server.operator("/readyz").await.status, 200);
    server.catalog.set("other", 1, failed());
    assert_eq!(server.operator("/readyz").await.status, 200, "an older version does not matter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_model_counts_when_all_are_required() {
    for require_all in [true, false] {
        let setup = Setup::new().settings(|settings| settings.models.require_all = require_all);
        setup.catalog.set("broken", 1, failed());
        let reply = setup.start().await.operator("/readyz").await;
        assert_eq!(reply.status, if require_all { 503 } else { 200 });
        assert_eq!(reply.json()["models"][0]["reason"], "no");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn liveness_and_metrics() {
    let server = Setup { phase: Phase::Starting, ..Setup::new() }.start().await;
    assert_eq!(server.operator("/livez").await.status, 200);
    let metrics = server.operator("/metrics").await;
    assert_eq!((metrics.status, metrics.text().as_str()), (200, "rscore_up 1\n"));
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_there() {
    let server = Setup::new().start().await;
    for path in ["/", "/models", "/models/double"] {
        assert_eq!(server.operator(path).await.status, 404, "{path}");
    }
}
