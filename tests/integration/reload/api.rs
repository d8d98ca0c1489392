//! A reload is asked for, by a caller who may or by SIGHUP.

use serde_json::json;

use super::{details, generation, not_polling, prediction, replace, times};
use crate::support::client::Request;
use crate::support::gate::Gate;
use crate::support::setup::Setup;
use crate::support::{eventually, keys, processes};

fn reload(path: &str) -> Request {
    Request::new("POST", path)
}

#[tokio::test]
async fn who_waits_gets_the_outcome() {
    let model = "asked";
    let server = not_polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    let script = server.repository.version(model, 1).join("score.R");
    replace(&script, times(3));
    let reply = server.send(reload("/models/asked/versions/1/reload?wait=true")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let digest = details(&server, model).await["digest"].clone();
    assert_eq!(
        reply.json(),
        json!({"name": model, "versions": [{"version": 1, "outcome": "loaded", "generation": 2, "digest": digest}]})
    );
    assert_eq!(prediction(&server, model).await, 63.0);

    replace(&script, "stop('no weights')");
    let problem = server.send(reload("/models/asked/reload?wait=true")).await.is_problem(409, "not-loaded");
    assert!(problem["detail"].as_str().unwrap().contains("no weights"), "{problem}");
    assert_eq!(prediction(&server, model).await, 63.0, "what served goes on");

    // All versions of the model, those that nobody knows yet and those that are gone too.
    server.repository.write(model, 2, "score.R", times(4));
    std::fs::remove_dir_all(server.repository.version(model, 1)).unwrap();
    let reply = server.send(reload("/models/asked/reload?wait=true")).await;
    let versions = reply.json()["versions"].clone();
    assert_eq!(versions[0]["outcome"], "loaded", "{versions}");
    assert_eq!(versions[1], json!({"version": 1, "outcome": "removed"}));
    assert_eq!(prediction(&server, model).await, 84.0);
}

#[tokio::test]
async fn who_does_not_wait_is_told_that_it_began() {
    let model = "accepted";
    let server = not_polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    let reply = server.send(reload("/models/accepted/reload")).await;
    assert_eq!((reply.status, reply.json()), (202, json!({"name": model, "versions": [{"version": 1}]})));
    generation(&server, model, 1, 2).await;
}

#[tokio::test]
async fn only_what_the_repository_has_is_loaded_and_only_for_whom_may() {
    let model = "closed";
    let server = not_polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    for path in ["/models/closed/versions/2/reload", "/models/none/reload", "/models/%2e%2e/reload"] {
        server.send(reload(path)).await.is_problem(404, "not-found");
    }
    for query in ["wait=maybe", "path=/etc", "wait=true&wait=false"] {
        server.send(reload(&format!("/models/closed/reload?{query}"))).await.is_problem(400, "malformed");
    }
    let token = keys::mint(&keys::settings(), "score:* models:read");
    let request = reload("/models/closed/reload").header("Authorization", &format!("Bearer {token}"));
    server.send(request).await.is_problem(403, "forbidden");
    assert_eq!(details(&server, model).await["generation"], 1, "nothing was loaded again");
}

#[tokio::test]
async fn a_version_has_two_generations_at_most_and_each_answers_its_own() {
    let (model, mut gate) = ("pinned", Gate::new());
    let script = |factor: u32| {
        let gate = gate.script();
        format!(
            "{gate}load <- function(dir) list()\n\
             score <- function(model, data) {{ if (data$x[1] == 1) gate(); {factor} * data$x }}"
        )
    };
    let (first, second, third) = (script(2), script(3), script(4));
    let server = not_polling(Setup::new().workers(2).file(model, "score.R", &first)).start().await;
    let path = server.repository.version(model, 1).join("score.R");
    let held = server.send_beside(Request::predict(model, r#"[{"x": 1}]"#));
    let worker = gate.begun().await;

    replace(&path, second);
    assert_eq!(server.send(reload("/models/pinned/reload?wait=true")).await.status, 200);
    assert_eq!(prediction(&server, model).await, 63.0);
    replace(&path, third);
    // Two that ask at once get one load, which has to wait for the first generation.
    let waiting = [(); 2].map(|()| server.send_beside(reload("/models/pinned/reload?wait=true")));
    eventually("a load that waits", || async { (details(&server, model).await["loading"] == true).then_some(()) })
        .await;
    assert_eq!(prediction(&server, model).await, 63.0);
    assert!(processes::runs(worker), "its request is not answered");

    gate.open().await;
    assert_eq!(held.await.unwrap().predictions(), [2.0], "by the generation that took it");
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status, 200);
    }
    assert_eq!(prediction(&server, model).await, 84.0);
    eventually("the end of what was replaced", || async {
        (server.workers(model).len() == 2 && !processes::runs(worker)).then_some(())
    })
    .await;
}
