//! Chunks that are being scored. Each has a task of its own, so that its time passes
//! for the model alone: a caller that does not take its answer holds back what
//! follows, and not the scoring of what was read.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{self, sleep, timeout_at};

use super::super::{GRACE, count_overload};
use crate::error::{Error, Kind, Result};
use crate::frame::schema::Inputs;
use crate::scoring::{ScoreRequest, Scored, Scorer};
use crate::telemetry::context::RequestContext;

/// Pause before a chunk that a full queue refused is offered again.
const PAUSE: Duration = Duration::from_millis(20);

/// Chunks of one request, in order.
pub(super) struct Scoring {
    scorer: Scorer,
    /// For each chunk, from when it was read.
    timeout: Duration,
    context: RequestContext,
    chunks: FuturesOrdered<Task>,
}

/// Rows that were scored, and when they were begun and answered.
#[derive(Debug)]
pub(super) struct ScoredChunk {
    pub(super) scored: Scored,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// The task of a chunk, which ends when nobody waits for it.
struct Task(JoinHandle<Result<ScoredChunk>>);

impl Future for Task {
    type Output = Result<Result<ScoredChunk>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scoring {
    /// No chunk yet.
    pub(super) fn new(scorer: Scorer, timeout: Duration, context: RequestContext) -> Self {
        Self { scorer, timeout, context, chunks: FuturesOrdered::new() }
    }

    /// Begins with a chunk. A full queue delays it, or refuses it if it `may_be_refused`.
    pub(super) fn submit(&mut self, inputs: Inputs<RecordBatch>, may_be_refused: bool) {
        let (scorer, context, timeout) = (Arc::clone(&self.scorer), self.context.clone(), self.timeout);
        let began = time::Instant::now().into_std();
        let deadline = began + timeout;
        let late = move || {
            let detail = format!("a part of the answer was not ready within {} ms", timeout.as_millis());
            Error::new(Kind::DeadlineExceeded, detail)
        };
        let score = async move {
            loop {
                let request = ScoreRequest { inputs: inputs.clone(), deadline, context: context.clone() };
                match scorer.score(request).await {
                    // Others filled the queue: wait for room as long as there is time.
                    Err(error) if is_overloaded(&error) && !may_be_refused => sleep(PAUSE).await,
                    outcome => return outcome.inspect_err(count_overload),
                }
            }
        };
        let task = async move {
            let scored = timeout_at((deadline + GRACE).into(), score).await.unwrap_or_else(|_| Err(late()));
            scored.map(|scored| ScoredChunk { scored, began, ended: time::Instant::now().into_std() })
        };
        self.chunks.push_back(Task(tokio::spawn(task)));
    }

    /// The predictions for the chunk that has waited longest; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<ScoredChunk>> {
        Some(match self.chunks.next().await? {
            Ok(scored) => scored,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(ended) => Err(Error::internal(ended)),
            },
        })
    }

    /// Chunks whose predictions were not taken.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

fn is_overloaded(error: &Error) -> bool {
    matches!(error.kind(), Kind::Overloaded { .. })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow_array::Float64Array;

    use super::*;
    use crate::error::Overload;
    use crate::scoring::Score;

    /// Refuses the first calls and answers the others after some time.
    struct Engine {
        refused: AtomicUsize,
        takes: Duration,
    }

    impl Score for Engine {
        fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
            Box::pin(async move {
                if self.refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    let kind = Kind::Overloaded { what: Overload::Queue, retry_after: Duration::ZERO };
                    return Err(Error::new(kind, "the queue is full"));
                }
                sleep(self.takes).await;
                if time::Instant::now().into_std() > request.deadline {
                    return Err(Error::new(Kind::DeadlineExceeded, "too late"));
                }
                Ok(Scored::empty())
            })
        }

        fn ready_workers(&self) -> usize {
            1
        }
    }

    fn scoring(refused: usize, takes: Duration) -> Scoring {
        let engine = Engine { refused: AtomicUsize::new(refused), takes };
        Scoring::new(Arc::new(engine), Duration::from_secs(5), RequestContext::untraced("request"))
    }

    fn rows() -> Inputs<RecordBatch> {
        let column = Arc::new(Float64Array::from(vec![1.0]));
        Inputs::single(RecordBatch::try_from_iter([("x", column as _)]).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_are_scored_though_nobody_takes_the_answer() {
        let mut scoring = scoring(3, Duration::from_secs(1));
        scoring.submit(rows(), false);
        // The caller takes nothing for far longer than a chunk may take.
        sleep(Duration::from_secs(60)).await;
        scoring.next().await.unwrap().unwrap();
        assert!(scoring.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_that_takes_too_long_is_late() {
        let mut scoring = scoring(0, Duration::from_secs(30));
        scoring.submit(rows(), false);
        let error = scoring.next().await.unwrap().unwrap_err();
        assert_eq!(*error.kind(), Kind::DeadlineExceeded);
        assert!(error.detail().contains("within 5000 ms"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_first_chunk_is_refused() {
        let mut scoring = scoring(1, Duration::ZERO);
        scoring.submit(rows(), true);
        assert!(is_overloaded(&scoring.next().await.unwrap().unwrap_err()));
    }
}
