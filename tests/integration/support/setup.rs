//! What a server is started with, in this process or as a program.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rscore::config::{Settings, worker_environment};
use rustls::ClientConfig;

use super::bundle::Repository;
use super::group::Group;
use super::keys;
use super::processes::MARKER;
use super::program::Program;
use super::server::TestServer;

/// A server that is to be started.
pub struct Setup {
    pub settings: Settings,
    pub repository: Repository,
    /// Tells this server's processes from all others.
    pub marker: String,
    /// Whether the program is started with `--dev`.
    pub development: bool,
    /// Folders of control groups that the program is started in.
    pub groups: Vec<PathBuf>,
    /// Who trusts the server's certificate, when that is not the usual one.
    pub client: Option<Arc<ClientConfig>>,
    /// Variables for the store that models come from.
    pub variables: Vec<(String, String)>,
}

impl Setup {
    /// A server with one worker for each model and no models, on free ports.
    pub fn new() -> Self {
        let repository = Repository::new();
        let mut settings = Settings::default();
        keys::configure(&mut settings);
        settings.models.path = repository.path().to_owned();
        settings.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
        // An address of its own tells the two listeners apart from outside.
        settings.server.admin_listen = (Ipv4Addr::new(127, 0, 0, 2), 0).into();
        settings.server.threads = 1;
        // No load balancer has to notice that a server of a test stops.
        settings.server.shutdown_delay = Duration::ZERO;
        settings.workers.count = 1;
        Self {
            settings,
            repository,
            marker: uuid::Uuid::now_v7().to_string(),
            development: false,
            groups: Vec::new(),
            client: None,
            variables: Vec::new(),
        }
    }

    /// Adds a model that is nothing but a scoring script.
    pub fn script(self, model: &str, script: &str) -> Self {
        self.file(model, "score.R", &format!("load <- function(dir) list()\n{script}"))
    }

    /// Adds a file to version 1 of a model.
    pub fn file(self, model: &str, name: &str, contents: &str) -> Self {
        self.repository.write(model, 1, name, contents);
        self
    }

    /// Adds version 1 of a model that R makes from an expression.
    pub fn train(self, model: &str, expression: &str) -> Self {
        self.repository.train(model, 1, expression);
        self
    }

    pub fn workers(self, count: usize) -> Self {
        self.settings(|settings| settings.workers.count = count)
    }

    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Started as a program within these control groups.
    pub fn groups<'a>(mut self, groups: impl IntoIterator<Item = &'a Group>) -> Self {
        self.groups = groups.into_iter().map(Group::folder).collect();
        self
    }

    /// Started as `rscore serve --dev`: without any keys of ours.
    pub fn development(mut self) -> Self {
        self.development = true;
        self.settings(|settings| (settings.tls, settings.auth) = Default::default())
    }

    /// Environment of the worker processes.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = worker_environment(&self.settings.workers);
        environment.push((MARKER.to_owned(), self.marker.clone()));
        environment
    }

    /// Starts the server in this process, and does not wait for its models.
    pub async fn begin(self) -> TestServer {
        TestServer::begin(self).await
    }

    /// Starts the server in this process and waits until its models are loaded.
    pub async fn start(self) -> TestServer {
        let mut server = self.begin().await;
        server.loaded().await;
        server
    }

    /// Starts the real program and waits until its models are loaded.
    pub async fn run(self) -> Program {
        Program::serve(self).await
    }
}
