//! The real program: `rscore` as a process with its own configuration file.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rscore::config::settings::LogFormat;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::bundle::Repository;
use super::endpoint::Endpoint;
use super::processes::{self, MARKER, Process};
use super::setup::Setup;
use super::{eventually, keys, within_deadline};

/// `rscore serve`. Dropping it kills it, and asserts that no process is left.
pub struct Program {
    endpoint: Endpoint,
    marker: String,
    child: Child,
    log: Log,
    /// Where it was started; holds `rscore.toml`.
    pub directory: TempDir,
    _repository: Repository,
}

/// Lines of standard error, as they come.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Program {
    pub(super) async fn serve(mut setup: Setup) -> Self {
        setup.settings.log.format = LogFormat::Json;
        setup.settings.workers.environment.push(MARKER.to_owned());
        let directory = tempfile::tempdir().expect("a folder");
        write_settings(directory.path(), &setup);
        let mut child = command(directory.path(), setup.environment())
            .args(["serve", "--config", "rscore.toml"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("rscore starts");
        let log = Log::default();
        log.collect(child.stderr.take().expect("a pipe"));
        let id = child.id().expect("it runs");
        let (callers, operator) = eventually("opening the listeners", || async {
            let listeners = processes::listeners(id);
            let find = |wanted: std::net::SocketAddr| listeners.iter().copied().find(|found| found.ip() == wanted.ip());
            Some((find(setup.settings.server.listen)?, find(setup.settings.server.admin_listen)?))
        })
        .await;
        let token = keys::mint(&setup.settings.auth, "score:* models:read");
        let endpoint = Endpoint { callers, operator, token };
        eventually("readiness", || async { (endpoint.operator("/readyz").await.status == 200).then_some(()) }).await;
        Self { endpoint, marker: setup.marker, child, log, directory, _repository: setup.repository }
    }

    /// Sends a signal to the server's process alone.
    pub fn signal(&self, signal: Signal) {
        processes::send_signal(self.child.id().expect("it runs"), signal);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        within_deadline("the end of the program", self.child.wait()).await.expect("a status")
    }

    /// All that still runs, the server itself too.
    pub fn processes(&self) -> Vec<Process> {
        processes::marked(&self.marker)
    }

    /// Waits for a line of the log.
    pub async fn logged(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async { self.lines().into_iter().find(&wanted) }).await
    }

    /// The log so far; each line is a JSON object.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }
}

impl Log {
    fn collect(&self, pipe: impl tokio::io::AsyncRead + Send + Unpin + 'static) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }
}

impl Deref for Program {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.start_kill();
        let left = processes::remaining(&self.marker);
        if std::thread::panicking() {
            for line in &*self.log.0.lock().unwrap_or_else(PoisonError::into_inner) {
                println!("{line}");
            }
            return;
        }
        assert!(left.is_empty(), "the program left processes behind: {left:?}");
    }
}

/// Writes `rscore.toml` with the settings.
pub fn write_settings(directory: &Path, setup: &Setup) -> PathBuf {
    let path = directory.join("rscore.toml");
    fs::write(&path, toml::to_string(&setup.settings).expect("settings in TOML")).expect("a file");
    path
}

/// Runs `rscore` to its end.
pub async fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let base = rscore::config::worker_environment(&rscore::config::Settings::default().workers);
    let mut command = command(directory, base);
    let output = command.args(arguments).envs(environment.iter().copied()).output();
    within_deadline("the end of the program", output).await.expect("rscore starts")
}

fn command(directory: &Path, environment: Vec<(String, String)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rscore"));
    command.current_dir(directory).env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
    command
}
