//! The repository changes by itself: versions come, change and go.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use super::{ROW, details, generation, not_polling, polling, prediction, publish, replace, times};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::gate::Gate;
use crate::support::processes;
use crate::support::setup::Setup;

#[tokio::test]
async fn a_new_version_becomes_the_default_when_it_is_ready() {
    let model = "arrives";
    let server = polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    assert_eq!(prediction(&server, model).await, 42.0);
    publish(&server.repository, model, 2, &times(3));
    let details = generation(&server, model, 2, 1).await;
    assert_eq!((&details["default_version"], &details["state"]), (&2.into(), &"ready".into()));
    assert_eq!(prediction(&server, model).await, 63.0);
    let pinned = Request::post("/models/arrives/versions/1/predict", ROW);
    assert_eq!(server.send(pinned).await.predictions(), [42.0], "version 1 is served on");

    // A model of another name, too.
    fs::create_dir(server.repository.path().join("another")).unwrap();
    publish(&server.repository, "another", 7, &times(5));
    generation(&server, "another", 7, 1).await;
    assert_eq!(prediction(&server, "another").await, 105.0);
}

#[tokio::test]
async fn a_folder_that_is_being_copied_is_left_alone() {
    let model = "copied";
    let setup = polling(Setup::new().file(model, "score.R", &times(2)));
    // Far longer than the pauses between the parts, on a busy machine too.
    let server = setup.settings(|settings| settings.models.settle = Duration::from_secs(3)).start().await;
    // Each part for itself is a script that loads and gives a wrong number.
    let mut script = times(3);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for part in 0..10 {
        ticks.tick().await;
        server.repository.write(model, 2, "score.R", &script);
        script += &format!("\n# part {part}\nscore <- function(model, data) {part} * data$x");
        let details = details(&server, model).await;
        assert_eq!(details["versions"].as_array().unwrap().len(), 1, "{details}");
        assert_eq!(prediction(&server, model).await, 42.0);
    }
    generation(&server, model, 2, 1).await;
    assert_eq!(prediction(&server, model).await, 168.0, "the last part was in");
}

#[tokio::test]
async fn a_changed_file_gives_another_generation_and_the_processes_of_the_old_end() {
    let model = "changes";
    let server = polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    let old: Vec<u32> =
        server.workers(model).iter().map(|worker| worker.id).chain([server.zygote(model).unwrap()]).collect();
    assert_eq!(old.len(), 2);
    replace(&server.repository.version(model, 1).join("score.R"), times(4));
    let details = generation(&server, model, 1, 2).await;
    assert!(details["loaded_at"].is_string() && details["last_error"].is_null(), "{details}");
    assert_eq!(prediction(&server, model).await, 84.0);
    eventually("the end of the old processes", || async { (!old.iter().any(|id| processes::runs(*id))).then_some(()) })
        .await;
    eventually("books without the old generation", || async {
        let metrics = server.metrics().await;
        let at = |name| metrics.sum(name, &[("model", model)]);
        (at("rscore_workers") == 1.0 && at("rscore_model_generation") == 2.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_only_touched_changes_nothing() {
    let model = "touched";
    let server = polling(Setup::new().file(model, "score.R", &times(2))).start().await;
    let file = fs::File::options().write(true).open(server.repository.version(model, 1).join("score.R")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    eventually("a look at the contents", || async {
        let unchanged = [("model", model), ("outcome", "unchanged")];
        (server.metrics().await.sum("rscore_reloads_total", &unchanged) == 1.0).then_some(())
    })
    .await;
    let details = details(&server, model).await;
    assert_eq!((&details["generation"], &details["loading"]), (&1.into(), &false.into()));
}

#[tokio::test]
async fn a_bad_change_keeps_what_serves_and_says_why() {
    let model = "spoilt";
    let setup = Setup::new().file(model, "score.R", &times(2)).file(model, "sample.json", ROW);
    let server = polling(setup.file(model, "expected.json", "[42]")).start().await;
    let script = server.repository.version(model, 1).join("score.R");
    replace(&script, times(3));
    let failed = eventually("a failure", || async {
        let details = details(&server, model).await;
        details["last_error"].is_object().then_some(details)
    })
    .await;
    let reason = failed["last_error"]["reason"].as_str().unwrap();
    assert!(reason.contains("expected.json: row 0 should be 42 and is 63"), "{reason}");
    assert_eq!((&failed["state"], &failed["generation"]), (&"ready".into(), &1.into()));
    assert_eq!(prediction(&server, model).await, 42.0);
    assert_eq!(server.operator("/readyz").await.status, 200);
    let outcomes = [("model", model), ("outcome", "failed")];
    assert_eq!(server.metrics().await.sum("rscore_reloads_total", &outcomes), 1.0);

    // A version that is new and bad does not become the default either.
    publish(&server.repository, model, 2, "stop('no weights')");
    eventually("a version that failed", || async {
        let reply = server.send(Request::get("/models/spoilt/versions/2")).await;
        (reply.status == 200 && reply.json()["state"] == "failed").then_some(())
    })
    .await;
    assert_eq!(prediction(&server, model).await, 42.0);
    assert_eq!(server.operator("/readyz").await.status, 200);
    let metrics = server.metrics().await;
    let is =
        |version, state| metrics.sum("rscore_model_state", &[("model", model), ("version", version), ("state", state)]);
    assert_eq!(
        ["loading", "ready", "failed"].map(|state| (is("1", state), is("2", state))),
        [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    );

    // Mended, it is loaded without being asked for.
    replace(&script, format!("{}\n# mended", times(2)));
    let mended = generation(&server, model, 1, 2).await;
    assert!(mended["last_error"].is_null(), "{mended}");
}

#[tokio::test]
async fn a_version_that_is_gone_answers_what_it_has_and_nothing_more() {
    let (model, mut gate) = ("leaves", Gate::new());
    let script = format!(
        "{}load <- function(dir) list()\nscore <- function(model, data) {{ gate(); 2 * data$x }}",
        gate.script()
    );
    let server = polling(Setup::new().workers(2).file(model, "score.R", &script)).start().await;
    publish(&server.repository, model, 2, &times(3));
    generation(&server, model, 2, 1).await;
    let states = || async { server.metrics().await.sum("rscore_model_state", &[("model", model)]) };
    assert_eq!(states().await, 2.0, "each is in a state");
    let pinned = || Request::post("/models/leaves/versions/1/predict", ROW);
    let in_flight = server.send_beside(pinned());
    let worker = gate.begun().await;
    fs::remove_dir_all(server.repository.version(model, 1)).unwrap();
    eventually("the end of the version", || async {
        let reply = server.send(Request::get("/models/leaves/versions/1")).await;
        (reply.status == 404).then_some(())
    })
    .await;
    server.send(pinned()).await.is_problem(404, "not-found");
    assert!(processes::runs(worker), "its last request is being scored");
    gate.open().await;
    assert_eq!(in_flight.await.unwrap().predictions(), [42.0]);
    eventually("the end of its worker", || async { (!processes::runs(worker)).then_some(()) }).await;
    assert_eq!(prediction(&server, model).await, 63.0);

    // With its last version the model goes.
    fs::remove_dir_all(server.repository.path().join(model)).unwrap();
    eventually("the end of the model", || async {
        (server.send(Request::predict(model, ROW)).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(states().await, 0.0, "what is gone is in none");
}

#[tokio::test]
async fn a_zygote_that_starts_again_loads_what_its_generation_is_or_nothing() {
    let model = "restarted";
    let script = format!("pid <- function() Sys.getpid()\n{}", times(2));
    let program = not_polling(Setup::new().file(model, "score.R", &script)).run().await;
    let path = program.repository.version(model, 1).join("score.R");
    let server = program.processes().into_iter().find(|process| !process.serves(model)).unwrap().id;
    let zygote = || program.processes().into_iter().find(|process| process.parent == server).map(|found| found.id);
    replace(&path, times(3));
    processes::send_signal(zygote().unwrap(), Signal::KILL);
    let refuses = |line: &Value| {
        line["level"] == "ERROR" && line.to_string().contains("files of its folder changed after it was first read")
    };
    program.logged("a refusal", refuses).await;
    assert_eq!(prediction(&program, model).await, 42.0, "the worker of the generation goes on");

    // Another file with the contents that the generation was loaded from.
    replace(&path, script);
    let worker = eventually("another zygote", || async {
        let zygote = zygote()?;
        program.processes().into_iter().find(|process| process.serves(model) && process.id != zygote)
    })
    .await;
    assert_eq!(prediction(&program, model).await, 42.0);
    assert_eq!(details(&program, model).await["generation"], 1, "{worker:?}");
}
