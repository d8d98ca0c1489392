//! One batch on its way through a worker, and what becomes of its members when
//! that goes wrong. The innocent are spared: after an R error the members of a
//! joined batch are scored again alone; after a crash the batch is halved until
//! the culprit stands alone. Nobody sees another's error.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures_util::FutureExt;
use tokio::time::{timeout, timeout_at};

use super::blame::Losses;
use super::{RETRY_PAUSE, Shared, now, refuse_all};
use crate::error::{Condition, Error, Kind, Result};
use crate::frame::join::join;
use crate::frame::schema::Inputs;
use crate::lifecycle::panic_text;
use crate::pool::CallEnd;
use crate::scoring::queue::Entry;
use crate::scoring::slots::ScoringSlot;
use crate::scoring::workers::{ScoringWorker, Workers};
use crate::scoring::{Call, Scored, StageTimes, independence};
use crate::telemetry::context::{self, RequestContext};
use crate::telemetry::metrics::{self, DeathReason};
use crate::worker::protocol::{Predictions, ScoreCall, ScoreReply};

/// A joined call is given up when it takes so many times what such calls take.
const PATIENCE_FACTOR: u32 = 20;

/// Shortest time after which a joined call is given up.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Longest time of an audit, which holds a worker and a slot meanwhile.
const AUDIT_LIMIT: Duration = Duration::from_secs(10);

/// Rows of a batch that an audit scores again.
const AUDITED_ROWS: usize = 16;

/// Why a call brought no reply.
enum NoReply {
    Ended(CallEnd),
    /// The server's own code panicked in it: a defect, of which one request is told.
    Panicked(String),
}

impl<W: Workers> Shared<W> {
    /// Scores a batch on a worker and answers all its members. The slot is held
    /// until they are answered, whatever it takes.
    pub(super) async fn execute(self: Arc<Self>, slot: ScoringSlot, worker: W::Worker, batch: Vec<Entry>) {
        let worker = self.score_batch(worker, batch).await;
        drop(worker);
        drop(slot);
    }

    /// Scores members together when there are several. Gives back the worker if it
    /// is still of use.
    fn score_batch(
        &self,
        worker: W::Worker,
        mut batch: Vec<Entry>,
    ) -> Pin<Box<dyn Future<Output = Option<W::Worker>> + Send + '_>> {
        Box::pin(async move {
            match batch.len() {
                0 => Some(worker),
                1 => match batch.pop() {
                    Some(entry) => self.score_alone(Some(worker), entry).await,
                    None => Some(worker),
                },
                _ => self.score_joined(worker, batch).await,
            }
        })
    }

    async fn score_joined(&self, mut worker: W::Worker, batch: Vec<Entry>) -> Option<W::Worker> {
        let started = now();
        let frames: Vec<&RecordBatch> = batch.iter().filter_map(|entry| entry.inputs.as_single()).collect();
        let joined = match join(&frames) {
            Ok(joined) if frames.len() == batch.len() => joined,
            // Requests that can't be joined are scored one after the other.
            _ => return self.score_each(Some(worker), batch).await,
        };
        let rows = joined.num_rows();
        let last = batch.iter().map(|entry| entry.deadline).max().unwrap_or(started);
        // One member that hangs must not take the others' time: a joined call that
        // takes far longer than such calls do is given up, and its members go alone.
        let patience = (self.cost().expected(rows) * PATIENCE_FACTOR).max(LEAST_PATIENCE);
        let deadline = last.min(started + patience);
        let call = self.call_of(Inputs::single(joined));
        match self.call(&mut worker, &call, deadline).await {
            Ok(reply) => {
                let retire = reply.retire;
                let times = reply_times(&reply);
                self.log_warnings(&reply.warnings, worker.id(), batch.iter().map(|entry| &entry.context));
                match reply.outcome {
                    Ok(predictions) if predictions.batch.num_rows() == rows => {
                        self.cost().observe(rows, times.score + times.convert);
                        metrics::batch((&self.settings.model, self.settings.version), rows);
                        // A worker that is not kept is not audited.
                        let audited: Vec<RequestContext> = match self.audit_is_due() && !retire {
                            true => batch.iter().map(|entry| entry.context.clone()).collect(),
                            false => Vec::new(),
                        };
                        answer_all(batch, &predictions, times, started, Call { worker: worker.id(), rows });
                        let worker = self.keep(worker, retire)?;
                        match audited.is_empty() {
                            true => Some(worker),
                            false => Some(self.audit(worker, call, &predictions, &audited).await),
                        }
                    }
                    // An R error, or a result that can't be shared out.
                    _ => {
                        let worker = self.keep(worker, retire);
                        self.score_each(worker, batch).await
                    }
                }
            }
            Err(NoReply::Ended(CallEnd::Lost(lost))) => {
                let (ids, traces) = context::names(batch.iter().map(|entry| &entry.context));
                tracing::warn!(
                    request.ids = ids,
                    trace.ids = traces,
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    worker.id = worker.id(),
                    error = %lost,
                    "a worker was lost with a batch of {} requests; they are scored again in halves",
                    batch.len()
                );
                self.pool.discard(worker, DeathReason::Crashed);
                self.score_halves(batch).await
            }
            Err(NoReply::Ended(CallEnd::TimedOut { recovered })) => {
                let worker = self.keep_if_recovered(worker, recovered);
                self.score_each(worker, batch).await
            }
            Err(NoReply::Panicked(_)) => {
                self.pool.discard(worker, DeathReason::Crashed);
                self.score_each(None, batch).await
            }
        }
    }

    async fn score_halves(&self, mut batch: Vec<Entry>) -> Option<W::Worker> {
        let second = batch.split_off(batch.len() / 2);
        let mut worker = None;
        for half in [batch, second] {
            let reserved = match worker.take() {
                Some(worker) => Ok(worker),
                None => self.reserve_for(&half).await,
            };
            match reserved {
                Ok(reserved) => worker = self.score_batch(reserved, half).await,
                Err(error) => refuse_all(half, &error),
            }
        }
        worker
    }

    async fn score_each(&self, mut worker: Option<W::Worker>, batch: Vec<Entry>) -> Option<W::Worker> {
        for entry in batch {
            worker = self.score_alone(worker, entry).await;
        }
        worker
    }

    /// Scores one request, which then gets whatever comes of it: predictions,
    /// warnings, or an error that is its own.
    async fn score_alone(&self, mut worker: Option<W::Worker>, entry: Entry) -> Option<W::Worker> {
        let started = now();
        let (rows, deadline, arrived) = (entry.rows, entry.deadline, entry.arrived);
        let call = self.call_of(entry.inputs.clone());
        let mut losses = Losses::default();
        loop {
            if deadline <= now() || entry.answer.is_closed() {
                entry.answer(Err(too_late()));
                return worker;
            }
            let mut reserved = match worker.take() {
                Some(worker) => worker,
                None => match self.reserve_until(deadline).await {
                    Ok(worker) => worker,
                    Err(error) => {
                        entry.answer(Err(error));
                        return None;
                    }
                },
            };
            match self.call(&mut reserved, &call, deadline).await {
                Ok(reply) => {
                    let call = Call { worker: reserved.id(), rows };
                    self.log_warnings(&reply.warnings, call.worker, [&entry.context]);
                    let worker = self.keep(reserved, reply.retire);
                    let times = reply_times(&reply);
                    if reply.outcome.is_ok() {
                        self.cost().observe(rows, times.score + times.convert);
                        metrics::batch((&self.settings.model, self.settings.version), rows);
                    }
                    let times = StageTimes { queue: started.saturating_duration_since(arrived), ..times };
                    entry.answer(accept(reply, rows, times, call));
                    return worker;
                }
                Err(NoReply::Ended(CallEnd::Lost(lost))) => {
                    tracing::warn!(
                        request.id = &*entry.context.id,
                        trace.id = entry.context.trace_id(),
                        traceparent = entry.context.traceparent(),
                        model.name = %self.settings.model,
                        model.version = self.settings.version,
                        worker.id = reserved.id(),
                        error = %lost,
                        "a worker was lost with a request, in attempt {}",
                        losses.count() + 1
                    );
                    losses.add(reserved.watch_end());
                    self.pool.discard(reserved, DeathReason::Crashed);
                    if losses.are_enough().await {
                        self.give_up(entry, losses.count());
                        return None;
                    }
                }
                Err(NoReply::Ended(CallEnd::TimedOut { recovered })) => {
                    entry.answer(Err(too_late()));
                    return self.keep_if_recovered(reserved, recovered);
                }
                Err(NoReply::Panicked(text)) => {
                    self.pool.discard(reserved, DeathReason::Crashed);
                    entry.answer(Err(Error::internal(format!("the scoring task panicked: {text}"))));
                    return None;
                }
            }
        }
    }

    /// Answers a request that ended as many workers as it may, and remembers it.
    fn give_up(&self, entry: Entry, losses: usize) {
        let digest = self.quarantine.add(&entry.inputs, now());
        tracing::error!(
            request.id = &*entry.context.id,
            trace.id = entry.context.trace_id(),
            traceparent = entry.context.traceparent(),
            model.name = %self.settings.model,
            model.version = self.settings.version,
            request.digest = digest.map(tracing::field::display),
            "a request ended its worker process {losses} times and is given up; the same rows are refused for {} s",
            self.settings.quarantine.time.as_secs()
        );
        entry.answer(Err(Error::new(
            Kind::ModelCrashed,
            "each worker process that took the request ended, and it was given up; the log has what R printed last",
        )));
    }

    /// Whether it is time for an audit: one batch in so many.
    fn audit_is_due(&self) -> bool {
        let every = self.settings.audit_every;
        every > 0 && (self.batches.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    }

    /// Scores a few rows of a batch again, each alone, now and then: the proof at
    /// load saw a sample, this sees what callers send. A difference ends joining
    /// for this version.
    async fn audit(
        &self,
        mut worker: W::Worker,
        call: ScoreCall,
        predictions: &Predictions,
        requests: &[RequestContext],
    ) -> W::Worker {
        let Some(batch) = call.inputs.as_single() else { return worker };
        let rows = batch.num_rows().min(AUDITED_ROWS);
        let (again, answered) = (batch.slice(0, rows), predictions.batch.slice(0, rows));
        match timeout(AUDIT_LIMIT, independence::same_alone(&mut worker, &again, &answered)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(difference))) => {
                self.joining.store(false, Ordering::Relaxed);
                metrics::row_independence_failed((&self.settings.model, self.settings.version));
                let (ids, traces) = context::names(requests);
                tracing::error!(
                    request.ids = ids,
                    trace.ids = traces,
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    "rows of this model are not independent after all: {difference}; its requests are no longer joined"
                );
            }
            Ok(Err(lost)) => self.log_audit(requests, &format!("a worker was lost in an audit: {lost}")),
            // In the middle of a call the worker is of no use, and the pool replaces it.
            Err(_) => {
                let seconds = AUDIT_LIMIT.as_secs();
                self.log_audit(requests, &format!("an audit took longer than {seconds} s and was given up"));
            }
        }
        worker
    }

    /// The caller of a request that was alone sees them too; the log is for whoever
    /// maintains the model. The worker bounds their number and length.
    fn log_warnings<'a>(
        &self,
        warnings: &[String],
        worker: u64,
        requests: impl IntoIterator<Item = &'a RequestContext>,
    ) {
        if warnings.is_empty() {
            return;
        }
        let requests: Vec<&RequestContext> = requests.into_iter().collect();
        // R does not say which row a warning is about, nor whose.
        let (alone, several) = match requests.as_slice() {
            [request] => (Some(*request), (None, None)),
            several => {
                let (ids, traces) = context::names(several.iter().copied());
                (None, (Some(ids), traces))
            }
        };
        for warning in warnings {
            tracing::warn!(
                target: "rscore::model",
                {
                    request.id = alone.map(|request| &*request.id),
                    trace.id = alone.and_then(RequestContext::trace_id),
                    traceparent = alone.and_then(RequestContext::traceparent),
                    request.ids = several.0.as_deref(),
                    trace.ids = several.1.as_deref(),
                    model.name = &*self.settings.model,
                    model.version = self.settings.version,
                    worker.id = worker,
                },
                "R warning: {warning}"
            );
        }
    }

    /// Says how an audit of these requests' rows came to nothing.
    fn log_audit(&self, requests: &[RequestContext], how: &str) {
        let (ids, traces) = context::names(requests);
        tracing::warn!(
            request.ids = ids,
            trace.ids = traces,
            model.name = %self.settings.model,
            model.version = self.settings.version,
            "{how}"
        );
    }

    /// Has a call scored; at its deadline R is interrupted. After a panic nothing is
    /// known of the worker but that it is in the middle of something.
    async fn call(&self, worker: &mut W::Worker, call: &ScoreCall, deadline: Instant) -> Result<ScoreReply, NoReply> {
        let scoring = worker.score_until(call, deadline, self.pool.interrupt_grace());
        match AssertUnwindSafe(scoring).catch_unwind().await {
            Ok(scored) => scored.map_err(NoReply::Ended),
            Err(panic) => Err(NoReply::Panicked(panic_text(panic.as_ref()).to_owned())),
        }
    }

    fn call_of(&self, inputs: Inputs<RecordBatch>) -> ScoreCall {
        ScoreCall { id: self.calls.fetch_add(1, Ordering::Relaxed), inputs }
    }

    /// The worker, unless it asked to be replaced.
    fn keep(&self, worker: W::Worker, retire: bool) -> Option<W::Worker> {
        if retire {
            self.pool.discard(worker, DeathReason::Retired);
            return None;
        }
        Some(worker)
    }

    /// The worker if R stopped when it was interrupted; otherwise it is ended.
    fn keep_if_recovered(&self, worker: W::Worker, recovered: bool) -> Option<W::Worker> {
        if recovered {
            return Some(worker);
        }
        self.pool.discard(worker, DeathReason::TimedOut);
        None
    }

    async fn reserve_for(&self, batch: &[Entry]) -> Result<W::Worker> {
        let deadline = batch.iter().map(|entry| entry.deadline).max().unwrap_or_else(now);
        self.reserve_until(deadline).await
    }

    /// Waits for a worker: while the zygote is being replaced, there may be none for a
    /// moment.
    async fn reserve_until(&self, deadline: Instant) -> Result<W::Worker> {
        let reserving = async {
            loop {
                match self.pool.reserve().await {
                    Ok(worker) => return Ok(worker),
                    Err(_) if self.pool.is_out_of_order() => return Err(self.out_of_order()),
                    Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
                }
            }
        };
        timeout_at(deadline.into(), reserving).await.unwrap_or_else(|_| Err(too_late()))
    }
}

/// Shares a joined result out to its members, in order.
fn answer_all(batch: Vec<Entry>, predictions: &Predictions, times: StageTimes, started: Instant, call: Call) {
    let mut start = 0;
    for entry in batch {
        let scored = Scored {
            batch: predictions.batch.slice(start, entry.rows),
            unnamed: predictions.unnamed,
            // R does not say which row a warning is about; only a request that was
            // alone is told.
            warnings: Vec::new(),
            times: StageTimes { queue: started.saturating_duration_since(entry.arrived), ..times },
            call: Some(call),
        };
        start += entry.rows;
        entry.answer(Ok(scored));
    }
}

fn reply_times(reply: &ScoreReply) -> StageTimes {
    StageTimes {
        queue: Duration::ZERO,
        convert: Duration::from_nanos(reply.convert_nanoseconds),
        score: Duration::from_nanos(reply.score_nanoseconds),
    }
}

/// Checks a worker's answer to one request: as many rows as were asked for, or an error.
fn accept(reply: ScoreReply, rows: usize, times: StageTimes, call: Call) -> Result<Scored> {
    let predictions = reply.outcome.map_err(model_error)?;
    let got = predictions.batch.num_rows();
    if got != rows {
        return Err(model_error(Condition {
            class: vec!["rscore_row_count".to_owned(), "error".to_owned(), "condition".to_owned()],
            message: format!("the model returned {got} predictions for {rows} rows; each row needs exactly one"),
            call: None,
        }));
    }
    Ok(Scored {
        batch: predictions.batch,
        unnamed: predictions.unnamed,
        warnings: reply.warnings,
        times,
        call: Some(call),
    })
}

fn model_error(condition: Condition) -> Error {
    let detail = format!("the model raised an error: {}", condition.message);
    Error::new(Kind::ModelFailed(condition), detail)
}

fn too_late() -> Error {
    Error::new(Kind::DeadlineExceeded, "the model did not answer before the request's time was up")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use arrow_array::Float64Array;

    use super::*;

    #[test]
    fn the_row_count_is_checked() {
        let reply = || {
            let column = Arc::new(Float64Array::from(vec![1.0, 2.0]));
            let batch = RecordBatch::try_from_iter([("prediction", column as _)]).unwrap();
            ScoreReply {
                id: 1,
                outcome: Ok(Predictions { batch, unnamed: true }),
                warnings: Vec::new(),
                retire: false,
                convert_nanoseconds: 1,
                score_nanoseconds: 2,
            }
        };
        let accept = |rows| accept(reply(), rows, StageTimes::default(), Call { worker: 1, rows });
        assert_eq!(accept(2).unwrap().batch.num_rows(), 2);
        for rows in [1, 3] {
            let error = accept(rows).unwrap_err();
            assert!(matches!(error.kind(), Kind::ModelFailed(_)));
            assert!(error.detail().contains(&format!("2 predictions for {rows} rows")), "{error}");
        }
    }
}
