//! The whole server in this process, on a thread and runtime of its own, so
//! that it is stopped in order wherever its test ends.

use std::io;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rscore::app::{Application, Credentials, Parts, open_mirror};
use rscore::lifecycle::{Background, Drained};
use tokio::sync::oneshot;

use super::bundle::Repository;
use super::endpoint::{EVERYTHING, Endpoint};
use super::processes::{self, Process};
use super::setup::Setup;
use super::{DEADLINE, keys, within_deadline};

/// A running server. Dropping it stops it, and asserts that all requests were
/// answered and no process is left.
pub struct TestServer {
    endpoint: Endpoint,
    marker: String,
    loaded: Option<oneshot::Receiver<()>>,
    stop: Option<oneshot::Sender<()>>,
    // The mutex makes the server shareable; nobody contends for it.
    ended: Mutex<Receiver<io::Result<Drained>>>,
    /// What it serves.
    pub repository: Repository,
}

impl TestServer {
    pub(super) async fn begin(setup: Setup) -> Self {
        let token = keys::mint(&setup.settings.auth, EVERYTHING);
        let environment = setup.environment();
        let Setup { settings, repository, marker, variables, .. } = setup;
        let (stop, stopped) = oneshot::channel();
        let (listen, listening) = oneshot::channel();
        let (ready, loaded) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let served = runtime.expect("a runtime").block_on(async move {
                let variables = variables.into_iter().collect();
                let mirror = open_mirror(&settings, &variables).unwrap_or_else(|error| panic!("{error}"));
                let application = Application::start(Parts {
                    callers: TcpListener::bind(settings.server.listen)?,
                    operator: TcpListener::bind(settings.server.admin_listen)?,
                    credentials: Credentials::read(&settings).unwrap_or_else(|error| panic!("{error}")),
                    executable: PathBuf::from(env!("CARGO_BIN_EXE_rscore")),
                    environment,
                    mirror,
                    background: Background::new(),
                    traces: None,
                    settings,
                })?;
                // A test that gave up waiting has no use for it.
                let _ = listen.send((application.callers_address(), application.operator_address()));
                let loaded = application.loaded();
                tokio::spawn(async move {
                    loaded.await;
                    let _ = ready.send(());
                });
                application
                    .run(async {
                        stopped.await.unwrap_or(());
                        Duration::ZERO
                    })
                    .await
            });
            // A test that panicked in its own teardown doesn't ask.
            let _ = end.send(served);
        });
        let addresses = within_deadline("opening the listeners", listening).await;
        let (callers, operator) = addresses.expect("the server starts; its panic is above");
        let endpoint = Endpoint { callers, operator, tls: Some(Arc::clone(&keys::CLIENT)), token };
        Self { endpoint, marker, loaded: Some(loaded), stop: Some(stop), ended: Mutex::new(ended), repository }
    }

    /// Waits until the models are loaded.
    pub async fn loaded(&mut self) {
        if let Some(loaded) = self.loaded.take() {
            within_deadline("loading the models", loaded).await.expect("the server runs; its panic is above");
        }
    }

    /// The process that holds a model and forks its workers, if it runs.
    pub fn zygote(&self, model: &str) -> Option<u32> {
        self.processes(model).into_iter().find(|process| process.parent == std::process::id()).map(|found| found.id)
    }

    /// The processes that score with a model.
    pub fn workers(&self, model: &str) -> Vec<Process> {
        let mut processes = self.processes(model);
        processes.retain(|process| process.parent != std::process::id());
        processes
    }

    fn processes(&self, model: &str) -> Vec<Process> {
        processes::marked(&self.marker).into_iter().filter(|process| process.serves(model)).collect()
    }
}

impl Deref for TestServer {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // What fails is said by the receiver.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(DEADLINE);
        let left = processes::remaining(&self.marker);
        if std::thread::panicking() {
            return;
        }
        let drained = ended.expect("the server stops in time").expect("the listeners work");
        assert_eq!(drained, Drained::Clean, "the server was stopped with requests in flight");
        assert!(left.is_empty(), "the server left processes behind: {left:?}");
    }
}

/// A server that tests of one file share while they run side by side. The last
/// one stops it.
pub struct Shared {
    running: Mutex<Weak<TestServer>>,
}

impl Shared {
    pub const fn new() -> Self {
        Self { running: Mutex::new(Weak::new()) }
    }

    /// The running server, or one from `setup`.
    pub async fn get(&self, setup: impl FnOnce() -> Setup) -> Arc<TestServer> {
        if let Some(server) = self.lock().upgrade() {
            return server;
        }
        // Two tests that come here at once each start one; one of both is shared.
        let server = Arc::new(setup().start().await);
        *self.lock() = Arc::downgrade(&server);
        server
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Weak<TestServer>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
