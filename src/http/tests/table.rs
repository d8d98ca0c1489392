//! Every route of the table: closed without a token and without its scope.

use super::harness::{Request, Setup};
use crate::http::routes::{Needs, RESOURCES};

fn concrete(path: &str) -> String {
    path.replace("{name}", "double").replace("{version}", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_its_scope() {
    let server = Setup::new().start().await;
    let mut seen = 0;
    for resource in &RESOURCES {
        for operation in resource.operations {
            let (method, path) = (operation.method.as_str(), concrete(resource.path));
            let request =
                || Request::new(method, &path).header("Content-Type", "application/json").body("[{\"x\": 1}]");
            let what = format!("{method} {path}");

            let reply = server.send(request()).await;
            reply.is_problem(401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"rscore\""), "{what}");

            let (right, wrong) = match operation.needs {
                Needs::ScoreModelInPath => ("score:double", "score:doubl score:double2 score: models:read"),
                Needs::ModelsRead => ("models:read", "score:* models:write"),
                Needs::ModelsWrite => ("models:write", "score:* models:read"),
            };
            let reply = server.send(request().scope(wrong)).await;
            reply.is_problem(403, "forbidden");
            let expected = format!("Bearer realm=\"rscore\", error=\"insufficient_scope\", scope=\"{right}\"");
            assert_eq!(reply.header("www-authenticate"), Some(&*expected), "{what}");

            let accepted = if operation.needs == Needs::ModelsWrite { 202 } else { 200 };
            assert_eq!(server.send(request().scope(right)).await.status, accepted, "{what}");
            seen += 1;
        }
    }
    assert_eq!(seen, 7, "a route was added: say here which scope it needs");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_405_and_say_what_there_is() {
    let server = Setup::new().start().await;
    for resource in &RESOURCES {
        let mut methods: Vec<&str> = resource.operations.iter().map(|operation| operation.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        assert_eq!(methods.join(", "), resource.allow, "{}", resource.path);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if methods.contains(&method) {
                continue;
            }
            let request = Request::new(method, &concrete(resource.path));
            server.send(request.clone()).await.is_problem(401, "unauthenticated");
            let reply = server.send(request.scope("")).await;
            reply.is_problem(405, "method-not-allowed");
            assert_eq!(reply.header("allow"), Some(resource.allow));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_table_is_closed_too() {
    let server = Setup::new().start().await;
    for path in
        ["/", "/livez", "/readyz", "/metrics", "/models/", "/models/double/", "/models//predict", "/%2e%2e", "/a/b/c"]
    {
        server.send(Request::new("GET", path)).await.is_problem(401, "unauthenticated");
        server.send(Request::get(path)).await.is_problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_for_the_model_that_is_scored() {
    let server = Setup::new().start().await;
    // Whatever the spelling, the name that is checked is the name that is looked up.
    for path in ["/models/%64ouble/predict", "/models/%64ouble/versions/%31/predict"] {
        let request = Request::post(path, "[{\"x\": 1}]");
        assert_eq!(server.send(request.clone().scope("score:double")).await.status, 200, "{path}");
        server.send(request.scope("score:other")).await.is_problem(403, "forbidden");
    }
    for path in ["/models/%2a/predict", "/models/double%2Fx/predict", "/models/double%22,x=%22/predict"] {
        let request = Request::post(path, "[{\"x\": 1}]").scope("score:double");
        server.send(request).await.is_problem(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let server = Setup::new().start().await;
    let get = server.send(Request::get("/models")).await;
    let head = server.send(Request::new("HEAD", "/models").scope("models:read")).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
}
