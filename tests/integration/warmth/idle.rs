//! Garbage that a worker collects while nobody waits for it.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::bench::{Bench, PATIENCE, call, number, until};

/// Leaves garbage whose collection says so, byte by byte: it begins with `b`, goes
/// on for `x` seconds (or ends the process when that is below zero), and ends with `e`.
fn script(notes: &Path) -> String {
    format!(
        r#"
note <- function(text) {{
  notes <- fifo("{}", "wb", blocking = FALSE)
  writeBin(charToRaw(text), notes)
  close(notes)
}}
score <- function(model, data) {{
  seconds <- data$x
  reg.finalizer(new.env(), function(garbage) {{
    note("b")
    if (seconds < 0) quit(status = 3)
    Sys.sleep(seconds)
    note("e")
  }})
  2 * data$x
}}
"#,
        notes.display()
    )
}

/// A pipe with a name, and the end of it that reads.
fn named_pipe() -> (tempfile::TempDir, std::path::PathBuf, pipe::Receiver) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(&path).unwrap();
    (folder, path, receiver)
}

async fn next(notes: &mut pipe::Receiver) -> char {
    char::from(tokio::time::timeout(PATIENCE, notes.read_u8()).await.expect("a note in time").unwrap())
}

fn soon(settings: &mut rscore::pool::PoolSettings) {
    settings.upkeep.idle_collect = Duration::from_millis(50);
}

#[tokio::test]
async fn an_idle_worker_collects_what_its_calls_left() {
    let (_folder, path, mut notes) = named_pipe();
    let bench = Bench::start_with(&script(&path), soon).await;
    for round in 1..=2 {
        assert_eq!(bench.number("litter", 0.0).await, 0.0);
        assert_eq!((next(&mut notes).await, next(&mut notes).await), ('b', 'e'), "round {round}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_request_that_comes_during_a_collection_finds_another_worker_or_waits_for_its_end() {
    let (_folder, path, mut notes) = named_pipe();
    let bench = Bench::start_with(&script(&path), |settings| {
        soon(settings);
        settings.size = 2;
    })
    .await;
    assert_eq!(bench.number("litter", 0.5).await, 1.0);
    assert_eq!(next(&mut notes).await, 'b');
    // One collects; the other is free, and the first comes back when it is done.
    let mut free = bench.worker().await;
    let collecting = bench.worker().await;
    assert_eq!(next(&mut notes).await, 'e');
    assert_eq!(number(&free.score(&call("litter", 0.0)).await.unwrap()), 0.0);
    drop((free, collecting));
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_that_a_collection_ends_is_replaced() {
    let (_folder, path, mut notes) = named_pipe();
    let bench = Bench::start_with(&script(&path), soon).await;
    let first = bench.pool.process_ids()[1];
    assert_eq!(bench.number("litter", -1.0).await, -2.0);
    assert_eq!(next(&mut notes).await, 'b');
    until("another worker", || matches!(bench.pool.process_ids()[1..], [worker] if worker != first)).await;
    assert_eq!(bench.number("litter", 0.0).await, 0.0);
    bench.stop().await;
}
