//! One request, one worker. The place where a dispatcher that batches will
//! stand; what it must keep is here already: a scoring slot before a worker,
//! deadlines on every wait, one retry for a request whose worker died, and the
//! check of the row count.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::{Score, ScoreRequest, Scored, StageTimes};
use crate::error::{Condition, Error, Kind, Result};
use crate::frame::schema::SINGLE_INPUT;
use crate::pool::{ReservedWorker, WorkerPool};
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ScoreCall, ScoreReply};

/// How many workers a request may be given: the first, and one more when that died.
const ATTEMPTS: usize = 2;

/// Scoring slots over all models: how many R computations may run at once.
pub type ScoringSlots = Arc<Semaphore>;

/// Scores the requests of one model version, each alone on a worker.
pub struct DirectScorer {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    pool: Arc<WorkerPool>,
    slots: ScoringSlots,
    /// The input whose row count the predictions have.
    rows_like: String,
    calls: AtomicU64,
}

impl DirectScorer {
    /// A scorer on a pool. Must be called within the runtime that drives the pool.
    pub fn new(pool: Arc<WorkerPool>, slots: ScoringSlots, rows_like: Option<String>) -> Self {
        let rows_like = rows_like.unwrap_or_else(|| SINGLE_INPUT.to_owned());
        Self {
            shared: Arc::new(Shared { pool, slots, rows_like, calls: AtomicU64::new(1) }),
            runtime: Handle::current(),
        }
    }
}

impl Score for DirectScorer {
    fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
        // A task of its own: a caller that goes away must not leave a worker in the
        // middle of a call.
        let (answer, answered) = oneshot::channel();
        let shared = self.shared.clone();
        self.runtime.spawn(async move { shared.run(request, answer).await });
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| Err(Error::internal("the scoring task ended without an answer")))
        })
    }

    fn ready_workers(&self) -> usize {
        self.shared.pool.size()
    }
}

impl Shared {
    async fn run(&self, request: ScoreRequest, mut answer: oneshot::Sender<Result<Scored>>) {
        let queued = Instant::now();
        let deadline = request.deadline;
        let waited = tokio::select! {
            slot = self.wait_for_slot(deadline) => slot,
            () = answer.closed() => return,
        };
        let result = match waited {
            Ok(_slot) => self.score(request, queued).await,
            Err(error) => Err(error),
        };
        // The caller may be gone; then nobody wants the answer.
        let _ = answer.send(result);
    }

    async fn wait_for_slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        match timeout_at(deadline.into(), self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(closed)) => Err(Error::new(Kind::Unavailable, "the server is stopping").because(closed)),
            Err(_) => Err(too_late("the request waited for a free worker until its time was up")),
        }
    }

    async fn score(&self, request: ScoreRequest, queued: Instant) -> Result<Scored> {
        let deadline = request.deadline;
        let call = ScoreCall { id: self.calls.fetch_add(1, Ordering::Relaxed), inputs: request.inputs };
        let rows = match call.inputs.get(&self.rows_like) {
            Some(batch) => batch.num_rows(),
            None => return Err(Error::internal(format!("a request without the input '{}'", self.rows_like))),
        };
        if rows == 0 {
            // Many predict methods fail on no rows; the answer is known without them.
            return Ok(Scored::empty());
        }
        for attempt in 1..=ATTEMPTS {
            let mut worker = self.reserve(deadline).await?;
            let queue = queued.elapsed();
            match timeout_at(deadline.into(), worker.score(&call)).await {
                Ok(Ok(reply)) => {
                    self.log_warnings(&reply.warnings, &request.request_id);
                    if reply.retire {
                        self.pool.discard(worker, DeathReason::Retired);
                    }
                    return accept(reply, rows, queue);
                }
                Ok(Err(lost)) => {
                    tracing::warn!(
                        request.id = %request.request_id,
                        worker.id = worker.id(),
                        error = %lost,
                        "a worker was lost while it scored, attempt {attempt} of {ATTEMPTS}"
                    );
                    self.pool.discard(worker, DeathReason::Crashed);
                }
                Err(_) => {
                    self.pool.discard(worker, DeathReason::TimedOut);
                    return Err(too_late("the model did not answer in time; its worker was replaced"));
                }
            }
        }
        Err(Error::new(
            Kind::ModelCrashed,
            "the request ended its worker process twice and was given up; the log has what R printed last",
        ))
    }

    /// The caller sees them too; the log is for whoever maintains the model. The
    /// worker bounds their number and length.
    fn log_warnings(&self, warnings: &[String], request_id: &str) {
        let (model, version) = self.pool.model();
        for warning in warnings {
            tracing::warn!(
                target: "rscore::model",
                { request.id = request_id, model.name = model, model.version = version },
                "R warning: {warning}"
            );
        }
    }

    async fn reserve(&self, deadline: Instant) -> Result<ReservedWorker> {
        match timeout_at(deadline.into(), self.pool.reserve()).await {
            Ok(Ok(worker)) => Ok(worker),
            Ok(Err(error)) => {
                Err(Error::new(Kind::Unavailable, "the model has no worker at the moment; one is being started")
                    .because(error))
            }
            Err(_) => Err(too_late("the request waited for a free worker until its time was up")),
        }
    }
}

/// Checks a worker's answer: as many rows as were asked for, or an error.
fn accept(reply: ScoreReply, rows: usize, queue: Duration) -> Result<Scored> {
    let predictions = reply.outcome.map_err(model_error)?;
    if predictions.batch.num_rows() != rows {
        return Err(model_error(Condition {
            class: vec!["rscore_row_count".to_owned(), "error".to_owned()],
            message: format!(
                "the model returned {} predictions for {rows} rows; each row needs exactly one",
                predictions.batch.num_rows()
            ),
            call: None,
        }));
    }
    Ok(Scored {
        batch: predictions.batch,
        unnamed: predictions.unnamed,
        warnings: reply.warnings,
        times: StageTimes {
            queue,
            convert: Duration::from_nanos(reply.convert_nanoseconds),
            score: Duration::from_nanos(reply.score_nanoseconds),
        },
    })
}

fn model_error(condition: Condition) -> Error {
    let detail = format!("the model raised an error: {}", condition.message);
    Error::new(Kind::ModelFailed(condition), detail)
}

fn too_late(detail: &'static str) -> Error {
    Error::new(Kind::DeadlineExceeded, detail)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use arrow_array::{Float64Array, RecordBatch};

    use super::*;
    use crate::worker::protocol::Predictions;

    fn reply(values: Vec<f64>) -> ScoreReply {
        let batch = RecordBatch::try_from_iter([("prediction", Arc::new(Float64Array::from(values)) as _)]).unwrap();
        ScoreReply {
            id: 1,
            outcome: Ok(Predictions { batch, unnamed: true }),
            warnings: Vec::new(),
            retire: false,
            convert_nanoseconds: 1,
            score_nanoseconds: 2,
        }
    }

    #[test]
    fn the_row_count_is_checked() {
        let queue = Duration::ZERO;
        assert_eq!(accept(reply(vec![1.0, 2.0]), 2, queue).unwrap().batch.num_rows(), 2);
        for rows in [1, 3] {
            let error = accept(reply(vec![1.0, 2.0]), rows, queue).unwrap_err();
            assert!(matches!(error.kind(), Kind::ModelFailed(_)));
            assert!(error.detail().contains(&format!("2 predictions for {rows} rows")), "{error}");
        }
    }
}
