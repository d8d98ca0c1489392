//! Predictions, and what may go wrong behind the door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::Float64Array;
use serde_json::json;
use tokio::sync::Semaphore;

use super::harness::{Request, Scripted, Setup, doubled, info, scored, signalled};
use crate::error::{Condition, Error, Kind, Overload};

const PATH: &str = "/models/double/predict";

#[tokio::test(flavor = "multi_thread")]
async fn one_prediction_per_row_in_order() {
    let server = Setup::new().model("double", 2, Scripted::doubling()).start().await;
    let reply = server.send(Request::post(PATH, "[{\"x\": 1.25}, {\"x\": -3}]").header("X-Request-Id", "mine-1")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.text(), "{\"model\":\"double\",\"version\":2,\"predictions\":[2.5,-6.0]}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    assert_eq!(reply.header("connection"), None);
    let timing = reply.header("server-timing").expect("stage times");
    for stage in ["decode;dur=", "queue;dur=1.000", "score;dur=2.000", "encode;dur="] {
        assert!(timing.contains(stage), "{timing}");
    }
    let reply = server.send(Request::post("/models/double/versions/1/predict", "{\"x\": [1]}")).await;
    assert_eq!(reply.json(), json!({"model": "double", "version": 1, "predictions": [2.0]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_id_gets_one() {
    let server = Setup::new().start().await;
    let ids = [(); 2].map(|()| server.send(Request::get("/models")));
    let [first, second] = ids;
    let (first, second) = (first.await, second.await);
    assert!(first.header("x-request-id").is_some());
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn non_finite_numbers_as_asked_and_warnings_when_there_are_any() {
    let scripted = Scripted::new(|_| async {
        let mut answer = scored(Float64Array::from(vec![Some(f64::NAN), Some(f64::INFINITY), None]));
        answer.warnings.push("prediction from a rank-deficient fit".into());
        Ok(answer)
    });
    let server = Setup::new().model("odd", 1, scripted).start().await;
    let rows = "[{\"x\": 1}, {\"x\": 2}, {\"x\": 3}]";
    let reply = server.send(Request::post("/models/odd/predict", rows)).await.json();
    assert_eq!(reply["predictions"], json!([null, null, null]));
    assert_eq!(reply["warnings"], json!(["prediction from a rank-deficient fit"]));
    let reply = server.send(Request::post("/models/odd/predict?non_finite=string", rows)).await.json();
    assert_eq!(reply["predictions"], json!(["NaN", "Infinity", null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_does_not_fit() {
    let server = Setup::new().start().await;
    let problem =
        server.send(Request::post(PATH, "[{\"x\": 1}, {\"x\": \"2\"}]")).await.is_problem(422, "unprocessable");
    assert_eq!(problem["error_count"], 1);
    assert_eq!((&problem["errors"][0]["row"], &problem["errors"][0]["column"]), (&json!(1), &json!("x")));
    server.send(Request::post(PATH, "[{\"x\": 1},")).await.is_problem(400, "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_engine_have_their_status() {
    let server = Setup::new()
        .model(
            "raises",
            1,
            Scripted::new(|_| async {
                let condition = Condition { class: vec!["simpleError".into()], message: "secret".into(), call: None };
                Err(Error::new(Kind::ModelFailed(condition), "secret"))
            }),
        )
        .model("crashes", 1, Scripted::new(|_| async { Err(Error::new(Kind::ModelCrashed, "it crashed")) }))
        .model(
            "busy",
            1,
            Scripted::new(|_| async {
                Err(Error::new(Kind::Overloaded { what: Overload::Queue, retry_after: Duration::from_secs(3) }, "full"))
            }),
        )
        .model("bug", 1, Scripted::new(|_| async { Err(Error::internal("secret cause")) }))
        .settings(|settings| settings.server.expose_model_errors = false)
        .start()
        .await;
    let post = |name: &str| server.send(Request::post(&format!("/models/{name}/predict"), "[{\"x\": 1}]"));
    let problem = post("raises").await.is_problem(500, "model-error");
    assert!(!problem.to_string().contains("secret"), "{problem}");
    post("crashes").await.is_problem(502, "model-crashed");
    let reply = post("busy").await;
    reply.is_problem(429, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("3"));
    let problem = post("bug").await.is_problem(500, "internal");
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_failure_of_one_request() {
    let server = Setup::new().model("panics", 1, Scripted::new(|_| async { panic!("scripted panic") })).start().await;
    let mut client = server.connect().await;
    let problem =
        client.send(Request::post("/models/panics/predict", "[{\"x\": 1}]")).await.is_problem(500, "internal");
    assert!(!problem.to_string().contains("scripted"), "{problem}");
    assert_eq!(client.send(Request::post(PATH, "[{\"x\": 1}]")).await.status, 200, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shorter_of_both_timeouts_is_kept_even_if_the_engine_forgets() {
    let hangs = || Scripted::new(|_| std::future::pending());
    let short = Duration::from_millis(30);
    let server = Setup::new()
        .model("hangs", 1, hangs())
        .model_with("hasty", 1, hangs(), crate::scoring::catalog::ModelInfo { timeout: short, ..info() })
        .start()
        .await;
    let started = Instant::now();
    let rows = "[{\"x\": 1}]";
    let asked = Request::post("/models/hangs/predict", rows).header("X-Request-Timeout-Ms", "30");
    server.send(asked).await.is_problem(504, "deadline-exceeded");
    let longer = Request::post("/models/hasty/predict", rows).header("X-Request-Timeout-Ms", "60000");
    server.send(longer).await.is_problem(504, "deadline-exceeded");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_turned_away_at_once() {
    let (arrived, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let scripted = Scripted::new({
        let (arrived, gate) = (Arc::clone(&arrived), Arc::clone(&gate));
        move |request| {
            let (arrived, gate) = (Arc::clone(&arrived), Arc::clone(&gate));
            async move {
                arrived.add_permits(1);
                gate.acquire().await.expect("open").forget();
                Ok(doubled(&request))
            }
        }
    });
    let server =
        Setup::new().model("gated", 1, scripted).settings(|settings| settings.limits.max_requests = 1).start().await;
    let request = Request::post("/models/gated/predict", "[{\"x\": 1}]");
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let first = tokio::spawn({
        let request = request.clone();
        async move { first.send(request).await }
    });
    signalled(&arrived).await;
    let reply = second.send(request.clone()).await;
    reply.is_problem(429, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("connection"), None, "a refused caller keeps its connection");
    gate.add_permits(2);
    assert_eq!(first.await.expect("no panic").status, 200);
    assert_eq!(second.send(request).await.status, 200, "the place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_caller_that_left_is_dropped() {
    struct Dropped(Arc<Semaphore>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let (arrived, dropped) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let scripted = Scripted::new({
        let (arrived, dropped) = (Arc::clone(&arrived), Arc::clone(&dropped));
        move |_| {
            let (arrived, guard) = (Arc::clone(&arrived), Dropped(Arc::clone(&dropped)));
            async move {
                arrived.add_permits(1);
                let _guard = guard;
                std::future::pending().await
            }
        }
    });
    let server = Setup::new().model("hangs", 1, scripted).start().await;
    let mut client = server.connect().await;
    let request = Request::post("/models/hangs/predict", "").header("Content-Length", "10");
    client.write(&request.head()).await;
    client.write(b"[{\"x\": 1}]").await;
    signalled(&arrived).await;
    drop(client);
    signalled(&dropped).await;
}
