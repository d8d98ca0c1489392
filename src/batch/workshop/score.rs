//! Calls of R for one partition: its random stream, its deadline, and what is
//! done about errors, silence and death. An R error would come again, so it is
//! not tried again; a dead worker's partition is, once, with no other call beside
//! it, for memory may have been the reason.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use super::{RWorkshop, Work, failure, isolate};
use crate::batch::record::{Cause, Failure, Times};
use crate::batch::run::stop::Stop;
use crate::batch::run::{Hindrance, Order, Unmade};
use crate::batch::seed;
use crate::error::Condition;
use crate::frame::schema::Inputs;
use crate::pool::{BeginError, CallEnd, ReservedWorker};
use crate::scoring;
use crate::telemetry::metrics::DeathReason;
use crate::worker::protocol::{ScoreCall, ScoreReply, Task};

/// Pause before a worker is asked for again.
const WORKER_PAUSE: Duration = Duration::from_millis(100);

/// What R made of a partition.
pub(super) struct Scored {
    /// Predictions, and the rows that had to be left out; or why there are none.
    pub result: Result<(RecordBatch, Vec<Dropped>), Failure>,
    /// R warnings.
    pub warnings: Vec<String>,
    /// How often R was asked for the whole partition.
    pub tries: u32,
    /// Resident memory of the worker afterwards.
    pub worker_bytes: u64,
}

/// A row that R can't score.
pub(super) struct Dropped {
    /// Its position among the rows that were to be scored.
    pub position: usize,
    /// What R said.
    pub condition: Condition,
}

/// How one call ended.
pub(super) enum Called {
    /// With predictions.
    Predictions(RecordBatch),
    /// With an R error.
    Error(Condition),
    /// Without an answer.
    Ended(Failure),
    /// Not at all, for the machine's reasons.
    Unmade(Unmade),
}

/// Calls for one partition, on one worker as long as it lives.
pub(super) struct Session<'a> {
    workshop: &'a RWorkshop,
    worker: Option<ReservedWorker>,
    task: Task,
    rows_like: &'a str,
    deadline: Instant,
    pub(super) warnings: Vec<String>,
    convert: Duration,
    score: Duration,
    worker_bytes: u64,
}

impl RWorkshop {
    /// Scores a partition.
    ///
    /// # Errors
    /// A stop was asked for before R began, or no worker can be had: nothing is known
    /// of the partition then.
    pub(super) async fn score(
        &self,
        order: Order<'_>,
        work: &Work,
        times: &mut Times,
        output: PathBuf,
    ) -> Result<Scored, Unmade> {
        if work.numbers.is_empty() {
            // Many predict methods fail on no rows; the answer is known without them.
            let result = Ok((scoring::Scored::empty().batch, Vec::new()));
            return Ok(Scored { result, warnings: Vec::new(), tries: 0, worker_bytes: 0 });
        }
        let waiting = Instant::now();
        let shared = self.alone.read().await;
        let worker = self.reserve().await?;
        times.wait += waiting.elapsed().as_secs_f64();
        // The last moment: what R has begun may end in time.
        if self.stopping.asked() != Stop::No {
            return Err(Unmade::Interrupted);
        }
        let mut session = self.session(order, worker, &output);
        let mut tries = 1;
        let mut called = session.call(work.inputs.clone()).await;
        drop(shared);
        if let Called::Ended(Failure { cause: Cause::Crash, .. }) = &called {
            tracing::warn!(
                batch.partition = %order.partition.id,
                "the worker died with a partition, which is tried once more, alone"
            );
            let alone = self.alone.write().await;
            session.worker = Some(self.reserve().await?);
            session.deadline = Instant::now() + self.job.limits.partition_timeout;
            tries = 2;
            called = session.call(work.inputs.clone()).await;
            drop(alone);
        }
        let result = match called {
            Called::Predictions(batch) => Ok((batch, Vec::new())),
            Called::Ended(failure) => Err(failure),
            Called::Unmade(unmade) => return Err(unmade),
            Called::Error(condition) => match isolate::isolate(self, &mut session, work, condition).await {
                Ok(scored) => Ok(scored),
                Err(Hindrance::Failure(failure)) => Err(failure),
                Err(Hindrance::Unmade(unmade)) => return Err(unmade),
            },
        };
        times.convert += session.convert.as_secs_f64();
        times.score += session.score.as_secs_f64();
        Ok(Scored { result, tries, worker_bytes: session.worker_bytes, warnings: session.warnings })
    }

    /// A worker that nobody else uses; waits while a zygote that died is started again.
    async fn reserve(&self) -> Result<ReservedWorker, Unmade> {
        let pool = &self.model.pool;
        let until = Instant::now() + self.model.load_timeout;
        loop {
            match pool.reserve().await {
                Ok(worker) => return Ok(worker),
                Err(error) if pool.is_out_of_order() || Instant::now() >= until => {
                    return Err(Unmade::trouble(format!("no worker can be had: {error}")));
                }
                Err(_) if self.stopping.asked() != Stop::No => return Err(Unmade::Interrupted),
                Err(_) => tokio::time::sleep(WORKER_PAUSE).await,
            }
        }
    }

    fn session<'a>(&'a self, order: Order<'_>, worker: ReservedWorker, output: &Path) -> Session<'a> {
        Session {
            workshop: self,
            worker: Some(worker),
            task: Task { stream: seed::stream(self.job.seed, &order.partition.id), output: output.to_owned() },
            rows_like: &self.model.columns.rows_like,
            deadline: Instant::now() + self.job.limits.partition_timeout,
            warnings: Vec::new(),
            convert: Duration::ZERO,
            score: Duration::ZERO,
            worker_bytes: 0,
        }
    }
}

impl Session<'_> {
    /// Has inputs scored. After an end there is no worker any more.
    pub(super) async fn call(&mut self, inputs: Inputs<RecordBatch>) -> Called {
        let rows = inputs.get(self.rows_like).map_or(0, RecordBatch::num_rows);
        let pool = &self.workshop.model.pool;
        let Some(mut worker) = self.worker.take() else {
            return Called::Unmade(Unmade::trouble("the worker is gone"));
        };
        let began = Instant::now();
        let call = ScoreCall { id: worker.calls() + 1, inputs };
        let ended = match worker.begin_until(self.task.clone(), self.deadline).await {
            Ok(()) => worker.score_until(&call, self.deadline, pool.interrupt_grace()).await,
            Err(BeginError::Ended(end)) => Err(end),
            // The worker is none the worse for it and goes back to the others.
            Err(error @ BeginError::Refused(_)) => return Called::Unmade(Unmade::trouble(error.to_string())),
        };
        self.workshop.add_busy(began.elapsed());
        match ended {
            Ok(reply) => {
                self.worker_bytes = worker.resident_bytes();
                if reply.retire {
                    pool.discard(worker, DeathReason::Retired);
                } else {
                    self.worker = Some(worker);
                }
                self.take(reply, rows)
            }
            Err(CallEnd::Lost(lost)) => {
                pool.discard(worker, DeathReason::Crashed);
                Called::Ended(failure(
                    Cause::Crash,
                    format!("the worker process died ({lost}); its memory may not suffice, or the model calls quit()"),
                ))
            }
            Err(CallEnd::TimedOut { recovered }) => {
                if !recovered {
                    pool.discard(worker, DeathReason::TimedOut);
                }
                let limit = self.workshop.job.limits.partition_timeout.as_secs_f64();
                Called::Ended(failure(
                    Cause::Timeout,
                    format!("R took longer than {limit} s (limits.partition_timeout)"),
                ))
            }
        }
    }

    /// Has another worker take over when the last one was retired.
    pub(super) async fn ready(&mut self) -> Result<(), Unmade> {
        if self.worker.is_none() {
            self.worker = Some(self.workshop.reserve().await?);
        }
        Ok(())
    }

    fn take(&mut self, reply: ScoreReply, rows: usize) -> Called {
        self.convert += Duration::from_nanos(reply.convert_nanoseconds);
        self.score += Duration::from_nanos(reply.score_nanoseconds);
        for warning in reply.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        match reply.outcome {
            Ok(predictions) if predictions.batch.num_rows() == rows => Called::Predictions(predictions.batch),
            Ok(predictions) => Called::Error(Condition {
                class: vec!["rscore_bad_result".to_owned(), "error".to_owned(), "condition".to_owned()],
                message: format!(
                    "the model returned {} predictions for {rows} rows; each row needs exactly one",
                    predictions.batch.num_rows()
                ),
                call: None,
            }),
            Err(condition) => Called::Error(condition),
        }
    }
}
