//! One batch on its way through a worker, and what becomes of its members when
//! that goes wrong. The innocent are spared: after an R error or a call that takes
//! too long the members of a joined batch are scored again alone; after a crash the
//! batch is halved until the culprit stands alone. Nobody sees another's error, nor
//! loses its time to another: while others wait, a call is given up when it takes
//! far longer than such calls do, and its turn comes again after theirs.

mod part;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures_util::FutureExt;
use tokio::time::timeout;

use self::part::{Member, Part};
use super::place::Place;
use super::{Shared, now};
use crate::error::{Condition, Error, Kind, Result};
use crate::frame::join::join;
use crate::frame::schema::Inputs;
use crate::lifecycle::panic_text;
use crate::pool::CallEnd;
use crate::scoring::queue::Entry;
use crate::scoring::workers::{ScoringWorker, Workers};
use crate::scoring::{Call, Scored, StageTimes, independence};
use crate::telemetry::context::{self, RequestContext};
use crate::telemetry::metrics::{self, DeathReason};
use crate::worker::protocol::{Predictions, ScoreCall, ScoreReply};

/// A call that others wait for is given up when it takes so many times what such
/// calls take.
const PATIENCE_FACTOR: u32 = 20;

/// Shortest time after which such a call is given up.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// No request has more time than that.
const MOST_PATIENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// After so many, patience is without end.
const MAX_DOUBLINGS: u32 = 24;

/// Longest time of an audit, which holds a worker and a slot meanwhile.
const AUDIT_LIMIT: Duration = Duration::from_secs(10);

/// Rows of a call that an audit scores again.
const AUDITED_ROWS: usize = 16;

/// Why a call brought no reply.
enum NoReply {
    Ended(CallEnd),
    /// The server's own code panicked in it: a defect, of which one request is told.
    Panicked(String),
}

/// What is left of a part after a call.
enum Rest {
    /// All were answered.
    Nothing,
    /// What is to be scored next, in this order.
    Next(Vec<Part>),
    /// What is to be scored when all others were.
    Last(Part),
}

impl<W: Workers> Shared<W> {
    /// Scores a batch and answers all its members, whatever it takes.
    pub(super) async fn execute(self: Arc<Self>, place: Place<W>, batch: Vec<Entry>) {
        let mut place = Some(place);
        let mut parts = VecDeque::from([Part::new(batch)]);
        while let Some(mut part) = parts.pop_front() {
            part.drop_the_late(now());
            let Some(deadline) = part.latest_deadline() else { continue };
            let placed = match place.take() {
                Some(place) => place,
                None => match self.place_until(deadline).await {
                    Ok(placed) => placed,
                    Err(error) => {
                        part.refuse(&error);
                        continue;
                    }
                },
            };
            // Who waits for this part must not wait for as long as it takes.
            let patience = if parts.is_empty() { None } else { Some(part.round()) };
            let rest;
            (place, rest) = match part.into_single() {
                Ok(member) => self.score_alone(placed, member, patience).await,
                Err(part) => self.score_joined(placed, part.into_members(), parts.is_empty()).await,
            };
            match rest {
                Rest::Nothing => {}
                Rest::Next(next) => next.into_iter().rev().for_each(|part| parts.push_front(part)),
                Rest::Last(part) => parts.push_back(part),
            }
        }
    }

    /// Scores several requests in one call. Gives back the place if it is still of use.
    async fn score_joined(&self, mut place: Place<W>, members: Vec<Member>, is_last: bool) -> (Option<Place<W>>, Rest) {
        let started = now();
        let frames: Vec<&RecordBatch> = members.iter().filter_map(|member| member.entry.inputs.as_single()).collect();
        let joined = match join(&frames) {
            Ok(joined) if frames.len() == members.len() => joined,
            // Requests that can't be joined are scored one after the other.
            _ => return (Some(place), Rest::Next(part::each(members))),
        };
        let rows = joined.num_rows();
        let last = members.iter().map(|member| member.entry.deadline).max().unwrap_or(started);
        let deadline = self.end_of_patience(rows, 0, started).min(last);
        let call = self.call_of(Inputs::single(joined));
        match self.call(&mut place.worker, &call, deadline).await {
            Ok(reply) => {
                let retire = reply.retire;
                let times = reply_times(&reply);
                let worker = place.worker.id();
                self.log_warnings(&reply.warnings, worker, members.iter().map(|member| &member.entry.context));
                match reply.outcome {
                    Ok(predictions) if predictions.batch.num_rows() == rows => {
                        self.cost().observe(rows, times.score + times.convert);
                        metrics::batch((&self.settings.model, self.settings.version), rows);
                        // A worker that is not kept is not audited, nor is one that is waited for.
                        let audited: Vec<RequestContext> = match is_last && !retire && self.audit_is_due() {
                            true => members.iter().map(|member| member.entry.context.clone()).collect(),
                            false => Vec::new(),
                        };
                        answer_all(members, &predictions, times, started, Call { worker, rows });
                        if audited.is_empty() {
                            return (self.keep(place, retire), Rest::Nothing);
                        }
                        self.audit(place, &call, &predictions.batch, &audited).await;
                        (None, Rest::Nothing)
                    }
                    // An R error, or a result that can't be shared out.
                    _ => (self.keep(place, retire), Rest::Next(part::each(members))),
                }
            }
            Err(NoReply::Ended(CallEnd::Lost(lost))) => {
                let (ids, traces) = context::names(members.iter().map(|member| &member.entry.context));
                tracing::warn!(
                    request.ids = ids,
                    trace.ids = traces,
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    worker.id = place.worker.id(),
                    error = %lost,
                    "a worker was lost with a batch of {} requests; they are scored again in halves",
                    members.len()
                );
                self.discard(place, DeathReason::Crashed);
                (None, Rest::Next(part::halves(members)))
            }
            Err(NoReply::Ended(CallEnd::TimedOut { recovered })) => {
                (self.keep_if_recovered(place, recovered), Rest::Next(part::each(members)))
            }
            Err(NoReply::Panicked(_)) => {
                self.discard(place, DeathReason::Crashed);
                (None, Rest::Next(part::each(members)))
            }
        }
    }

    /// Scores one request, which then gets whatever comes of it: predictions,
    /// warnings, or an error that is its own. Without patience it has all of its time.
    async fn score_alone(
        &self,
        mut place: Place<W>,
        mut member: Member,
        patience: Option<u32>,
    ) -> (Option<Place<W>>, Rest) {
        let started = now();
        let Entry { rows, deadline, arrived, .. } = member.entry;
        let until = match patience {
            Some(round) => self.end_of_patience(rows, round, started).min(deadline),
            None => deadline,
        };
        let call = self.call_of(member.entry.inputs.clone());
        match self.call(&mut place.worker, &call, until).await {
            Ok(reply) => {
                let scored_by = Call { worker: place.worker.id(), rows };
                self.log_warnings(&reply.warnings, scored_by.worker, [&member.entry.context]);
                let retire = reply.retire;
                let times = reply_times(&reply);
                if reply.outcome.is_ok() {
                    self.cost().observe(rows, times.score + times.convert);
                    metrics::batch((&self.settings.model, self.settings.version), rows);
                }
                let times = StageTimes { queue: started.saturating_duration_since(arrived), ..times };
                let accepted = accept(reply, rows, times, scored_by);
                // A part of a request and a chunk of a stream rely on it as joined requests do.
                let audited = match &accepted {
                    Ok(scored) if rows > 1 && patience.is_none() && !retire && self.audit_is_due() => {
                        Some((scored.batch.clone(), member.entry.context.clone()))
                    }
                    _ => None,
                };
                let Some((predictions, context)) = audited else {
                    let place = self.keep(place, retire);
                    member.entry.answer(accepted);
                    return (place, Rest::Nothing);
                };
                member.entry.answer(accepted);
                self.audit(place, &call, &predictions, &[context]).await;
                (None, Rest::Nothing)
            }
            Err(NoReply::Ended(CallEnd::Lost(lost))) => {
                tracing::warn!(
                    request.id = &*member.entry.context.id,
                    trace.id = member.entry.context.trace_id(),
                    traceparent = member.entry.context.traceparent(),
                    model.name = %self.settings.model,
                    model.version = self.settings.version,
                    worker.id = place.worker.id(),
                    error = %lost,
                    "a worker was lost with a request, in attempt {}",
                    member.losses.count() + 1
                );
                member.losses.add(place.worker.watch_end());
                self.discard(place, DeathReason::Crashed);
                if member.losses.are_enough().await {
                    self.give_up(member.entry, member.losses.count());
                    return (None, Rest::Nothing);
                }
                (None, Rest::Last(Part::again(member, patience.unwrap_or(0))))
            }
            Err(NoReply::Ended(CallEnd::TimedOut { recovered })) => {
                let place = self.keep_if_recovered(place, recovered);
                match patience {
                    // With twice the patience each time, what is merely slow is scored
                    // after a few rounds, however many others hang.
                    Some(round) if until < deadline => (place, Rest::Last(Part::again(member, round + 1))),
                    _ => {
                        member.entry.answer(Err(too_late()));
                        (place, Rest::Nothing)
                    }
                }
            }
            Err(NoReply::Panicked(text)) => {
                self.discard(place, DeathReason::Crashed);
                member.entry.answer(Err(Error::internal(format!("the scoring task panicked: {text}"))));
                (None, Rest::Nothing)
            }
        }
    }

    /// When a call that begins now has taken far longer than such calls do.
    fn end_of_patience(&self, rows: usize, round: u32, now: Instant) -> Instant {
        let patience = self.cost().expected(rows).saturating_mul(PATIENCE_FACTOR).max(LEAST_PATIENCE);
        now + patience.saturating_mul(1 << round.min(MAX_DOUBLINGS)).min(MOST_PATIENCE)
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

    /// Whether it is time for an audit: one call in so many, as long as rows count as
    /// independent.
    fn audit_is_due(&self) -> bool {
        let every = self.settings.audit_every;
        every > 0
            && self.joining.load(Ordering::Relaxed)
            && (self.auditable.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    }

    /// Scores a few rows of a call again, each alone, now and then: the proof at
    /// load saw a sample, this sees what callers send. A difference ends joining
    /// for this version.
    async fn audit(
        &self,
        mut place: Place<W>,
        call: &ScoreCall,
        predictions: &RecordBatch,
        requests: &[RequestContext],
    ) {
        let Some(batch) = call.inputs.as_single() else { return };
        let rows = batch.num_rows().min(AUDITED_ROWS);
        let (again, answered) = (batch.slice(0, rows), predictions.slice(0, rows));
        match timeout(AUDIT_LIMIT, independence::same_alone(&mut place.worker, &again, &answered)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(difference))) => {
                // Another audit may have found it meanwhile.
                let is_news = self.refutation.set(difference.clone()).is_ok();
                self.joining.store(false, Ordering::Relaxed);
                metrics::row_independence_failed((&self.settings.model, self.settings.version));
                if !is_news {
                    return;
                }
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
}

/// Shares a joined result out to its members, in order.
fn answer_all(members: Vec<Member>, predictions: &Predictions, times: StageTimes, started: Instant, call: Call) {
    let mut start = 0;
    for Member { entry, .. } in members {
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

pub(super) fn too_late() -> Error {
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
                collections: 0,
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
