//! Batch jobs in a temporary folder, run by the real program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rscore::config::{Settings, worker_environment};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use super::bundle::run_r;
use super::client::{Connection, Request};
use super::group::{self, Group};
use super::processes::{self, MARKER};
use super::{eventually, within_deadline};

/// A folder with a model, inputs and a job file. Dropping it asserts that no
/// process is left.
pub struct Job {
    directory: TempDir,
    marker: String,
    environment: Vec<(String, String)>,
    groups: Vec<PathBuf>,
}

/// A shard or another verb that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Job {
    /// A job without anything.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        Self { directory, marker: uuid::Uuid::now_v7().to_string(), environment: Vec::new(), groups: Vec::new() }
    }

    /// A job of a scoring script that needs no model file.
    pub fn script(script: &str, manifest: &str) -> Self {
        let job = Self::new();
        job.write("model/1/score.R", &format!("load <- function(dir) list()\n{script}"));
        job.write("model/1/rscore.toml", manifest);
        job
    }

    /// A job of a model that R makes from an expression.
    pub fn train(expression: &str) -> Self {
        let job = Self::new();
        let path = job.path("model/1/model.rds");
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        run_r(&format!("saveRDS({expression}, commandArgs(TRUE)[1])"), &[path.to_str().expect("UTF-8")]);
        job
    }

    /// Adds variables to the environment of all that is run.
    pub fn environment(mut self, variables: &[(String, String)]) -> Self {
        self.environment.extend_from_slice(variables);
        self
    }

    /// All is run within a control group.
    pub fn within(mut self, group: &Group) -> Self {
        self.groups.push(group.folder());
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn write(&self, path: &str, contents: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, contents).expect("a file");
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Writes the job file.
    pub fn describe(&self, text: &str) {
        self.write("job.toml", text);
    }

    /// The files of a folder with their contents.
    pub fn files(&self, folder: &str) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let files = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
        files.map(|path| (name(&path), fs::read_to_string(&path).expect("text"))).collect()
    }

    /// The state of a run with output in `out`.
    pub fn state(&self, run: &str, path: &str) -> PathBuf {
        self.path(&format!("out/_rscore/runs/{run}/{path}"))
    }

    /// The outcome of a partition.
    pub fn outcome(&self, run: &str, partition: &str) -> Value {
        let path = self.state(run, &format!("commits/0/{partition}.json"));
        serde_json::from_slice(&fs::read(path).expect("an outcome")).expect("JSON")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = group::command(env!("CARGO_BIN_EXE_rscore"), &self.groups);
        command
            .arg("batch")
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .envs(worker_environment(&Settings::default().workers))
            .env("RSCORE_WORKERS__ENVIRONMENT", MARKER)
            .env(MARKER, &self.marker)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs `rscore batch` to its end.
    pub async fn batch(&self, arguments: &[&str]) -> Output {
        within_deadline("the end of rscore batch", self.command(arguments).output()).await.expect("rscore starts")
    }

    /// Runs `rscore batch run` to its end; gives the exit code and all that was said.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.batch(&[&["run", "job.toml", "--workers", "1"], arguments].concat()).await;
        (output.status.code().expect("a code"), said(&output))
    }

    /// Starts `rscore batch run`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let workers: &[&str] = if arguments.contains(&"--workers") { &[] } else { &["--workers", "1"] };
        self.begin(&[&["run", "job.toml"], workers, arguments].concat())
    }

    /// Starts `rscore batch`.
    pub fn begin(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rscore starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, stdout }
    }

    /// Waits until a shard takes no more partitions.
    pub async fn drains(&self, run: &str) {
        let folder = self.state(run, "shards");
        eventually("a shard that drains", || async {
            let mut heartbeats = fs::read_dir(&folder).ok()?.filter_map(|entry| fs::read(entry.ok()?.path()).ok());
            let drains = |heartbeat: Vec<u8>| {
                serde_json::from_slice::<Value>(&heartbeat).is_ok_and(|heartbeat| heartbeat["state"] == "draining")
            };
            heartbeats.any(drains).then_some(())
        })
        .await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let left = processes::remaining(&self.marker);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "processes are left behind: {left:?}");
        }
    }
}

impl Running {
    /// The shard's own process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal to the shard's own process.
    pub fn signal(&self, signal: Signal) {
        processes::send_signal(self.id(), signal);
    }

    /// The metrics at the only address that it listens on.
    pub async fn metrics(&self) -> String {
        let id = self.id();
        let address = eventually("a listener", || async { processes::listeners(id).first().copied() }).await;
        let reply = within_deadline("metrics", async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            Connection { stream: Box::new(stream) }.send(&Request::get("/metrics").header("Connection", "close")).await
        })
        .await;
        reply.text()
    }

    /// Waits for the next line that it prints.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        within_deadline("a line", self.stdout.read_line(&mut line)).await.expect("text");
        line
    }

    /// Waits for its end; gives the exit code, none after a signal, and what it said since the last [`Self::line`].
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        let end = async { tokio::join!(self.stdout.read_to_end(&mut rest), self.child.wait_with_output()) };
        let (read, output) = within_deadline("the end of rscore batch", end).await;
        read.expect("what it printed");
        let output = Output { stdout: rest, ..output.expect("a status") };
        (output.status.code(), said(&output))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}
