//! Starting the real program: refusing to be insecure, and what `--dev` and
//! `rscore token` give.

use std::path::Path;
use std::process::Output;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::processes;
use crate::support::program::{CONFIGURATION, run};
use crate::support::setup::Setup;

const DOUBLE: &str = "score <- function(model, data) 2 * data$x";
const ROW: &str = r#"[{"x": 21}]"#;

/// Asserts that the program refused its configuration and named all of `words`.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
}

#[tokio::test]
async fn without_certificate_and_keys_it_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["serve", "--models", "."], &[]).await;
    refused(&output, &["tls.certificate", "tls.key", "auth.keys", "--dev"]);
    // Each alone is not enough either.
    let output = run(directory.path(), &["serve", "--tls-certificate", "a.pem", "--tls-key", "b.pem"], &[]).await;
    refused(&output, &["auth.keys"]);
    let output = run(directory.path(), &["serve", "--auth-key", "a.pem"], &[]).await;
    refused(&output, &["tls.certificate"]);
}

#[tokio::test]
async fn every_mistake_of_every_source_comes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = "[server]\nlisen = \"127.0.0.1:1\"\n[limits]\nmax_rows = 0\n[models]\ntimeout = \"soon\"\n";
    std::fs::write(directory.path().join(CONFIGURATION), file).unwrap();
    let output = run(directory.path(), &["serve", "--workers", "many"], &[("RSCORE_LOG__FILTER", "inof")]).await;
    let words = [
        "lisen",
        "server.listen",
        "limits.max_rows",
        "models.timeout",
        "workers.count",
        "log.filter",
        "RSCORE_LOG__FILTER",
        "tls.certificate",
        "auth.keys",
    ];
    refused(&output, &words);
}

#[tokio::test]
async fn files_that_are_no_keys_are_all_named_before_a_port_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("server.pem"), "no certificate").unwrap();
    std::fs::write(directory.path().join("tokens.pem"), "no key").unwrap();
    let arguments = [
        "serve",
        "--tls-certificate",
        "server.pem",
        "--tls-key",
        "missing.pem",
        "--auth-key",
        "tokens.pem",
        "--models",
        ".",
    ];
    refused(&run(directory.path(), &arguments, &[]).await, &["server.pem", "missing.pem", "tokens.pem"]);
}

#[tokio::test]
async fn development_mode_is_for_this_machine_only() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["serve", "--dev", "--listen", "0.0.0.0:0"], &[]).await;
    refused(&output, &["server.listen", "loopback"]);
    let output = run(directory.path(), &["serve", "--dev", "--admin-listen", "0.0.0.0:0"], &[]).await;
    refused(&output, &["server.admin_listen", "loopback"]);
    let output = run(directory.path(), &["config", "--dev"], &[]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("listen = \"127.0.0.1:8443\""), "the default is a loopback address too: {text}");
}

#[tokio::test]
async fn development_mode_makes_its_own_keys_and_a_call_that_works() {
    let program = Setup::new().script("double", DOUBLE).file("double", "sample.json", ROW).development().run().await;
    assert_eq!(program.send(Request::predict("double", ROW)).await.predictions(), [42.0]);
    let listeners = processes::listeners(program.processes()[0].id);
    assert!(listeners.len() == 2 && listeners.iter().all(|listener| listener.ip().is_loopback()), "{listeners:?}");

    let line =
        eventually("a line to paste", || async { program.output().into_iter().find(|line| line.starts_with("curl ")) })
            .await;
    let token = line.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).expect("a token");
    let request = Request::predict("double", ROW).header("Authorization", &format!("Bearer {token}"));
    assert_eq!(program.send(request).await.predictions(), [42.0]);
    assert!(line.contains("/models/double/predict") && line.contains("--cacert"), "{line}");
}

#[tokio::test]
async fn a_token_of_the_command_line_is_accepted_for_its_scope_alone() {
    let program = Setup::new().script("double", DOUBLE).script("other", DOUBLE).run().await;
    let token = mint(program.directory.path(), &["--scope", "score:double"]).await;
    let request = |model| Request::predict(model, ROW).header("Authorization", &format!("Bearer {token}"));
    assert_eq!(program.send(request("double")).await.predictions(), [42.0]);
    program.send(request("other")).await.is_problem(403, "forbidden");
}

/// A token by `rscore token`, with the server's configuration.
async fn mint(directory: &Path, arguments: &[&str]) -> String {
    let common = ["token", "--config", CONFIGURATION, "--subject", "app"];
    let output = run(directory, &[&common, arguments].concat(), &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn plain_http_is_possible_and_said_aloud() {
    let setup = Setup::new().script("double", DOUBLE).settings(|settings| {
        settings.server.insecure_http = true;
        settings.tls = Default::default();
    });
    let program = setup.run().await;
    assert_eq!(program.send(Request::predict("double", ROW)).await.predictions(), [42.0]);
    program.send(Request::predict("double", ROW).without("Authorization")).await.is_problem(401, "unauthenticated");
    let warns = |line: &serde_json::Value| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("server.insecure_http"))
    };
    program.logged("the warning", warns).await;
}

#[tokio::test]
async fn a_package_that_starts_a_thread_of_its_own_can_be_used() {
    // dplyr loads cli, whose thread would keep the process from being forked.
    let script = "library(dplyr, warn.conflicts = FALSE)\nscore <- function(model, data) mutate(data, y = 2 * x)$y";
    let server = Setup::new().script("verbs", script).file("verbs", "rscore.toml", "[columns]\nx = \"double\"\n");
    let server = server.start().await;
    assert_eq!(server.send(Request::predict("verbs", r#"[{"x": 21}]"#)).await.predictions(), [42.0]);
}
