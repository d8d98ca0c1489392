//! The real program: `rscore` as a process with its own configuration file.

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rscore::config::settings::{AuthSettings, LogFormat};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::bundle::Repository;
use super::endpoint::{EVERYTHING, Endpoint};
use super::processes::{self, MARKER, Process};
use super::setup::Setup;
use super::{eventually, group, keys, within_deadline};

/// Name of the configuration file in the program's folder.
pub const CONFIGURATION: &str = "rscore.toml";

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_rscore");

/// `rscore serve`. Dropping it kills it, and asserts that no process is left.
pub struct Program {
    endpoint: Endpoint,
    marker: String,
    child: Child,
    log: Lines,
    output: Lines,
    /// Where it was started; holds [`CONFIGURATION`].
    pub directory: TempDir,
    /// What it serves.
    pub repository: Repository,
}

/// Lines of a pipe, as they come.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    /// Closed when the pipe is.
    open: watch::Receiver<()>,
}

impl Program {
    pub(super) async fn serve(mut setup: Setup) -> Self {
        setup.settings.log.format = LogFormat::Json;
        setup.settings.workers.environment.push(MARKER.to_owned());
        let directory = tempfile::tempdir().expect("a folder");
        write_settings(directory.path(), &setup);
        let command = group::command(BINARY, &setup.groups);
        let mut command = prepare(command, directory.path(), setup.environment());
        command.args(["serve", "--config", CONFIGURATION]).stdout(Stdio::piped()).stderr(Stdio::piped());
        if setup.development {
            command.arg("--dev");
        }
        let mut child = command.spawn().expect("rscore starts");
        let log = Lines::of(child.stderr.take().expect("a pipe"));
        let output = Lines::of(child.stdout.take().expect("a pipe"));
        let id = child.id().expect("it runs");
        let (callers, operator) = eventually("opening the listeners", || async {
            assert!(processes::runs(id), "it ended: {}", log.all().await.join("\n"));
            let listeners = processes::listeners(id);
            let at = |address: IpAddr| listeners.iter().copied().find(|listener| listener.ip() == address);
            Some((at(setup.settings.server.listen.ip())?, at(setup.settings.server.admin_listen.ip())?))
        })
        .await;
        let (client, auth) = match setup.development {
            true => {
                let made = directory.path().join("certs/dev");
                let signing_key = Some(made.join("signing-key.pem"));
                (keys::client(&made.join("ca.pem")), AuthSettings { signing_key, ..AuthSettings::default() })
            }
            false => {
                let client = setup.client.clone().unwrap_or_else(|| Arc::clone(&keys::CLIENT));
                (client, setup.settings.auth.clone())
            }
        };
        let tls = (!setup.settings.server.insecure_http).then_some(client);
        let endpoint = Endpoint { callers, operator, tls, token: keys::mint(&auth, EVERYTHING) };
        eventually("readiness", || async { (endpoint.operator("/readyz").await.status == 200).then_some(()) }).await;
        Self { endpoint, marker: setup.marker, child, log, output, directory, repository: setup.repository }
    }

    /// Process id of the server.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal to the server's process alone.
    pub fn signal(&self, signal: Signal) {
        processes::send_signal(self.id(), signal);
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
        eventually(what, || async { self.log().into_iter().find(&wanted) }).await
    }

    /// The log so far; each line is a JSON object.
    pub fn log(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.log.get().iter().map(parse).collect()
    }

    /// Standard output so far.
    pub fn output(&self) -> Vec<String> {
        self.output.get()
    }
}

impl Lines {
    fn of(pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let lines = Arc::default();
        let (keep_open, open) = watch::channel(());
        let collected: Arc<Mutex<Vec<String>>> = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                collected.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            drop(keep_open);
        });
        Self { lines, open }
    }

    fn get(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the last line.
    async fn all(&self) -> Vec<String> {
        // The only change is the end.
        let _ = self.open.clone().changed().await;
        self.get()
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
            println!("{}", self.log.get().join("\n"));
            return;
        }
        assert!(left.is_empty(), "the program left processes behind: {left:?}");
    }
}

/// Writes the settings into a folder.
pub fn write_settings(directory: &Path, setup: &Setup) -> PathBuf {
    let path = directory.join(CONFIGURATION);
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
    prepare(Command::new(BINARY), directory, environment)
}

fn prepare(mut command: Command, directory: &Path, environment: Vec<(String, String)>) -> Command {
    command.current_dir(directory).env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
    command
}
