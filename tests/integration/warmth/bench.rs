//! A pool on a scoring script that a test writes, and calls to its workers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Float64Array, RecordBatch, StringArray};
use rscore::config::settings::WorkerSettings;
use rscore::config::worker_environment;
use rscore::frame::schema::Inputs;
use rscore::lifecycle::Background;
use rscore::pool::{PoolSettings, ReservedWorker, Upkeep, WarmUp, WorkerPool};
use rscore::worker::protocol::{LoadRequest, ScoreCall, ScoreReply};

/// Longest wait for anything in these tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A bundle that is only a script, and the pool that runs it.
pub struct Bench {
    pub pool: Arc<WorkerPool>,
    _bundle: tempfile::TempDir,
    temporary: tempfile::TempDir,
}

impl Bench {
    /// A pool of one worker without a warm-up.
    pub async fn start(script: &str) -> Self {
        Self::start_with(script, |_| {}).await
    }

    /// As [`Bench::start`], with other settings.
    pub async fn start_with(script: &str, change: impl FnOnce(&mut PoolSettings)) -> Self {
        let bundle = tempfile::tempdir().unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let path = bundle.path().join("score.R");
        std::fs::write(&path, format!("load <- function(dir) list()\n{script}")).unwrap();
        let mut environment = worker_environment(&WorkerSettings::default());
        environment.retain(|(name, _)| name != "TMPDIR");
        environment.push(("TMPDIR".to_owned(), text(temporary.path())));
        let mut settings = PoolSettings {
            model: Arc::from("bench"),
            version: 1,
            executable: PathBuf::from(env!("CARGO_BIN_EXE_rscore")),
            environment,
            load: LoadRequest {
                directory: text(bundle.path()),
                script: Some(text(&path)),
                packages: Vec::new(),
                predict: Vec::new(),
                inputs: vec!["data".to_owned()],
                seed: None,
                max_reply_bytes: 1 << 20,
            },
            warm_up: None,
            size: 1,
            upkeep: Upkeep::default(),
            load_timeout: PATIENCE,
            max_reply_bytes: 1 << 20,
            identity: None,
            background: Background::new(),
        };
        change(&mut settings);
        let (pool, _) = WorkerPool::start(settings).await.unwrap();
        Self { pool: Arc::new(pool), _bundle: bundle, temporary }
    }

    /// A worker that nobody else uses.
    pub async fn worker(&self) -> ReservedWorker {
        tokio::time::timeout(PATIENCE, self.pool.reserve()).await.expect("a worker in time").unwrap()
    }

    /// What a worker answers.
    pub async fn score(&self, what: &str, x: f64) -> ScoreReply {
        let mut worker = self.worker().await;
        tokio::time::timeout(PATIENCE, worker.score(&call(what, x))).await.expect("an answer in time").unwrap()
    }

    /// The number that a worker answers.
    pub async fn number(&self, what: &str, x: f64) -> f64 {
        number(&self.score(what, x).await)
    }

    /// The folder that holds the temporary folders of this pool's processes.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Ends all processes.
    pub async fn stop(&self) {
        self.pool.stop().await;
    }
}

/// A call with one row: what to do, and a number.
pub fn call(what: &str, x: f64) -> ScoreCall {
    static IDS: AtomicU64 = AtomicU64::new(1);
    ScoreCall { id: IDS.fetch_add(1, Ordering::Relaxed), inputs: rows(what, x) }
}

/// The rows of [`call`].
pub fn rows(what: &str, x: f64) -> Inputs<RecordBatch> {
    let batch = RecordBatch::try_from_iter([
        ("what", Arc::new(StringArray::from(vec![what])) as _),
        ("x", Arc::new(Float64Array::from(vec![x])) as _),
    ]);
    Inputs::single(batch.unwrap())
}

/// A warm-up with the rows of [`call`].
pub fn warm_up(what: &'static str, x: f64) -> Option<WarmUp> {
    Some(WarmUp::new(move |_| Some(rows(what, x))))
}

/// The only value of a reply.
pub fn number(reply: &ScoreReply) -> f64 {
    let predictions = reply.outcome.as_ref().unwrap();
    predictions.batch.column(0).as_primitive::<Float64Type>().value(0)
}

/// Asks again until the answer is yes, for what can't be awaited.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        ticks.tick().await;
    }
}

/// Ends a process as a crash would.
pub fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
