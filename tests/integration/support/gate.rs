//! A gate in a scoring script: the call tells the test that it has begun and
//! waits until the test lets it go on. Both ways are named pipes.

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

use super::within_deadline;

/// The test's side of a gate.
pub struct Gate {
    directory: TempDir,
    begun: BufReader<Receiver>,
    release: Sender,
}

impl Gate {
    /// A closed gate. Within a runtime only.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let pipe = |name: &str| {
            let path = directory.path().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
            path
        };
        // Open both ways, so that neither side sees an end before the test is over.
        let mut options = OpenOptions::new();
        let options = options.read_write(true);
        let begun = BufReader::new(options.open_receiver(pipe("begun")).expect("a pipe"));
        let release = options.open_sender(pipe("release")).expect("a pipe");
        Self { directory, begun, release }
    }

    /// R code that defines `gate()`.
    pub fn script(&self) -> String {
        let path = |name: &str| self.directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
        format!(
            "gate <- function() {{\n  \
               begun <- file('{}', 'w', raw = TRUE)\n  \
               cat(Sys.getpid(), '\\n', sep = '', file = begun)\n  \
               close(begun)\n  \
               release <- fifo('{}', 'r', blocking = TRUE)\n  \
               on.exit(close(release))\n  \
               invisible(readLines(release, 1L))\n\
             }}\n",
            path("begun"),
            path("release"),
        )
    }

    /// Waits until a call has begun; gives the process id of its worker.
    pub async fn begun(&mut self) -> u32 {
        let mut line = String::new();
        within_deadline("a call at the gate", self.begun.read_line(&mut line)).await.expect("a line");
        line.trim().parse().expect("a process id")
    }

    /// Lets one call go on.
    pub async fn open(&mut self) {
        within_deadline("opening the gate", self.release.write_all(b"\n")).await.expect("a waiting call");
    }
}
