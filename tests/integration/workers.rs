//! Workers that die, hang and fail: the server answers on, says what happened,
//! and has its workers back.

mod crashes;
mod crashes_in_code;
mod deadlines;
mod errors;
mod memory;
mod noise;
mod zygote;

use std::process::Command;

use crate::support::eventually;
use crate::support::processes::Process;
use crate::support::server::TestServer;
use crate::support::setup::Setup;

/// Doubles `x`; waits at a gate before that when `wait` says so.
const GATED: &str = "score <- function(model, data) {\n  if (any(data$wait)) gate()\n  2 * data$x\n}";

const PLAIN_ROW: &str = r#"[{"x": 21, "wait": false}]"#;
const GATED_ROW: &str = r#"[{"x": 21, "wait": true}]"#;

/// Waits until a model has `count` workers, none of which is `gone`.
async fn workers_without(server: &TestServer, model: &str, count: usize, gone: &[u32]) -> Vec<Process> {
    eventually("a pool of the right size", || async {
        let workers = server.workers(model);
        let right = workers.len() == count && workers.iter().all(|worker| !gone.contains(&worker.id));
        right.then_some(workers)
    })
    .await
}

/// Waits until a counter of a model has a value.
async fn counted(server: &TestServer, metric: &str, model: &str, reason: &str, value: f64) {
    let what = format!("{metric} with the reason {reason} and the value {value}");
    eventually(&what, || async {
        let sum = server.metrics().await.sum(metric, &[("model", model), ("reason", reason)]);
        (sum == value).then_some(())
    })
    .await;
}

/// Ways for a package's compiled code to take its process with it, to compute in a
/// loop that never looks at interrupts, and to close its standard streams.
const COMPILED: &str = r#"
#include <stdlib.h>
#include <unistd.h>
#include <R.h>
#include <Rinternals.h>
SEXP fault(void) { volatile int *nowhere = (int *) 8; *nowhere = 1; return R_NilValue; }
SEXP aborts(void) { abort(); return R_NilValue; }
SEXP closes(void) { close(1); close(2); return R_NilValue; }
SEXP spins(void) { volatile double x = 0; for (;;) x += 1; return R_NilValue; }
"#;

/// Has R build the shared object beside the script.
fn compile(setup: &Setup, model: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("compiled.c"), COMPILED).unwrap();
    let output = Command::new("R").args(["CMD", "SHLIB", "compiled.c"]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built = setup.repository.version(model, 1).join("compiled.so");
    std::fs::copy(directory.path().join("compiled.so"), built).unwrap();
}
