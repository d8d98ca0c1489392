//! Chunks on their way: read, scored several at a time, written in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::time::{sleep, timeout_at};

use super::super::native::{Answer, Native};
use super::super::{GRACE, count_overload};
use super::How;
use super::feed::Feed;
use crate::error::{Error, Kind, Result};
use crate::frame::schema::Inputs;
use crate::frame::stream::Chunk;
use crate::http::admission::Permit;
use crate::http::coding::Deflater;
use crate::scoring::catalog::Served;
use crate::scoring::{ScoreRequest, Scored};
use crate::telemetry::metrics::{self, Stage};

/// Pause before a chunk that a full queue refused is offered again.
const PAUSE: Duration = Duration::from_millis(20);

/// A part of an answer, and what is known of the request when it goes out.
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Rows that are in it.
    pub(crate) rows: usize,
    /// Bytes of the body so far.
    pub(crate) bytes_in: usize,
}

/// Bounds of what one request has in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most chunks that are scored at once.
    pub(super) window: usize,
    /// Bytes of these chunks and of the one that is arriving.
    pub(super) bytes: usize,
}

/// One request.
pub(super) struct Pipeline {
    feed: Feed,
    served: Served,
    native: Native,
    timeout: Duration,
    request_id: Arc<str>,
    permit: Permit,
    bounds: Bounds,
    scoring: FuturesOrdered<LocalBoxFuture<'static, Result<Scored>>>,
    warnings: Vec<String>,
    answer: Option<Answer>,
    /// What ended the reading; told after the rows before it were answered.
    failed: Option<Error>,
    deflater: Option<Deflater>,
}

impl Pipeline {
    /// Nothing read yet.
    pub(super) fn new(feed: Feed, how: How, bounds: Bounds, permit: Permit, request_id: Arc<str>) -> Result<Self> {
        Ok(Self {
            feed,
            served: how.served,
            native: how.native,
            timeout: how.timeout,
            request_id,
            permit,
            bounds,
            scoring: FuturesOrdered::new(),
            warnings: Vec::new(),
            answer: None,
            failed: None,
            deflater: Some(Deflater::new(how.answer_coding).map_err(Error::internal)?),
        })
    }

    /// The first part of the answer. If there are to be others, memory for the whole
    /// way is set aside: while the request can still be refused for the lack of it.
    pub(super) async fn first(&mut self) -> Result<Piece> {
        let first = self.next().await?.ok_or_else(|| Error::internal("an answer without a beginning"))?;
        if !self.is_at_end() {
            self.reserve(self.bounds.bytes)?;
        }
        Ok(first)
    }

    /// The next part of the answer; `None` after the last.
    ///
    /// # Errors
    /// What is wrong with the body is told at once as long as nothing was answered:
    /// then the status can still say it. Later it comes after the rows before it.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            let reads = self.failed.is_none() && !self.feed.has_ended() && self.scoring.len() < self.bounds.window;
            if !reads {
                return match (self.scoring.next().await, self.failed.take()) {
                    (Some(scored), failed) => {
                        self.failed = failed;
                        self.write(&scored?).map(Some)
                    }
                    (None, Some(error)) => Err(error),
                    (None, None) => self.finish(),
                };
            }
            tokio::select! {
                biased;
                Some(scored) = self.scoring.next(), if !self.scoring.is_empty() => return self.write(&scored?).map(Some),
                chunk = self.feed.next() => match chunk.and_then(|chunk| self.take(chunk)) {
                    Ok(()) => {}
                    Err(error) if self.answer.is_none() => return Err(error),
                    Err(error) => self.failed = Some(error),
                },
            }
        }
    }

    /// Takes what the feed gave.
    fn take(&mut self, chunk: Option<Chunk>) -> Result<()> {
        let Some(chunk) = chunk else { return Ok(()) };
        let decoding = self.feed.take_decoding();
        self.observe(Stage::Decode, decoding);
        let bytes = self.feed.inflated().min(self.bounds.bytes).max(self.feed.buffered());
        self.reserve(bytes)?;
        self.submit(chunk);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.permit.reserve(bytes).inspect_err(|error| count_overload(error, "body_memory"))
    }

    fn submit(&mut self, chunk: Chunk) {
        self.warnings.extend(chunk.warnings);
        // The first chunk is refused like any request; later ones can't be.
        let is_first = self.answer.is_none() && self.scoring.is_empty();
        let (scorer, timeout) = (Arc::clone(&self.served.scorer), self.timeout);
        let (inputs, request_id) = (Inputs::single(chunk.batch), Arc::clone(&self.request_id));
        self.scoring.push_back(Box::pin(async move {
            let deadline = Instant::now() + timeout;
            let late = || {
                let detail = format!("a part of the answer was not ready within {} ms", timeout.as_millis());
                Error::new(Kind::DeadlineExceeded, detail)
            };
            let score = async {
                loop {
                    let request =
                        ScoreRequest { inputs: inputs.clone(), deadline, request_id: Arc::clone(&request_id) };
                    match scorer.score(request).await {
                        // Others filled the queue: wait for room as long as there is time.
                        Err(error) if is_overloaded(&error) && !is_first => sleep(PAUSE).await,
                        outcome => return outcome.inspect_err(|error| count_overload(error, "queue")),
                    }
                }
            };
            timeout_at((deadline + GRACE).into(), score).await.unwrap_or_else(|_| Err(late()))
        }));
    }

    fn write(&mut self, scored: &Scored) -> Result<Piece> {
        let started = Instant::now();
        let mut out = Vec::with_capacity(256 + 20 * scored.batch.num_rows() * scored.batch.num_columns());
        let Self { served, native, answer, warnings, .. } = self;
        let answer =
            answer.get_or_insert_with(|| Answer::new(served, native.answer, scored.unnamed, native.non_finite));
        answer.warn(&std::mem::take(warnings));
        answer.add(scored, &mut out)?;
        let bytes = match &mut self.deflater {
            Some(deflater) => deflater.piece(out).map_err(Error::internal)?,
            None => return Err(Error::internal("rows after the end of an answer")),
        };
        let times = scored.times;
        for (stage, duration) in [
            (Stage::Queue, times.queue),
            (Stage::Convert, times.convert),
            (Stage::Score, times.score),
            (Stage::Encode, started.elapsed()),
        ] {
            self.observe(stage, duration);
        }
        Ok(Piece { bytes: bytes.into(), rows: scored.batch.num_rows(), bytes_in: self.feed.bytes_in() })
    }

    fn finish(&mut self) -> Result<Option<Piece>> {
        let Some(mut deflater) = self.deflater.take() else { return Ok(None) };
        let mut out = Vec::new();
        match &mut self.answer {
            Some(answer) => answer.finish(&mut out)?,
            None => return Err(Error::internal("an answer without a chunk")),
        }
        let mut bytes = deflater.piece(out).map_err(Error::internal)?;
        bytes.extend(deflater.finish().map_err(Error::internal)?);
        Ok(Some(Piece { bytes: bytes.into(), rows: 0, bytes_in: self.feed.bytes_in() }))
    }

    fn observe(&self, stage: Stage, duration: Duration) {
        metrics::stage(stage, (&self.served.name, self.served.version), duration);
    }

    /// Whether all that is left is what stands after the rows.
    pub(super) fn is_at_end(&self) -> bool {
        self.feed.has_ended() && self.scoring.is_empty() && self.failed.is_none()
    }

    /// Bytes of the body so far, as they were sent.
    pub(super) fn bytes_in(&self) -> usize {
        self.feed.bytes_in()
    }

    /// What was not read of the body.
    pub(super) fn into_payload(self) -> Payload {
        self.feed.into_payload()
    }
}

impl Piece {
    /// Adds the piece after it.
    pub(super) fn append(&mut self, other: Self) {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
        bytes.extend_from_slice(&other.bytes);
        *self = Self { bytes: bytes.freeze(), rows: self.rows + other.rows, bytes_in: other.bytes_in };
    }
}

fn is_overloaded(error: &Error) -> bool {
    matches!(error.kind(), Kind::Overloaded { .. })
}
