//! Chunks on their way: read, scored several at a time, written in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};

use super::super::native::{Answer, Native};
use super::super::{count_overload, dispatched};
use super::How;
use super::feed::Feed;
use super::scoring::{ScoredChunk, Scoring};
use crate::error::{Error, Result};
use crate::frame::schema::Inputs;
use crate::frame::stream::Chunk;
use crate::http::admission::Permit;
use crate::http::coding::Deflater;
use crate::scoring::catalog::Served;
use crate::telemetry::context::RequestContext;
use crate::telemetry::metrics::{self, Stage};
use crate::telemetry::traces::{Dispatched, RequestSpan};

/// A part of an answer, and what is known of the request when it goes out.
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Rows that are in it.
    pub(crate) rows: usize,
    /// Bytes of the body so far.
    pub(crate) bytes_in: usize,
    /// How it came about; empty for a request that is not traced.
    pub(crate) notes: Vec<Note>,
}

/// What a span says of a part of an answer.
pub(crate) enum Note {
    Stage(Stage, Instant, Instant),
    Dispatched(Instant, Instant, Dispatched),
}

/// Whose request it is.
pub(super) struct Caller {
    pub(super) context: RequestContext,
    /// Whether it has a span that wants to know.
    pub(super) traced: bool,
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
    /// What is to be told to the request's span, if it has one.
    notes: Option<Vec<Note>>,
    permit: Permit,
    bounds: Bounds,
    scoring: Scoring,
    warnings: Vec<String>,
    answer: Option<Answer>,
    /// What ended the reading; told after the rows before it were answered.
    failed: Option<Error>,
    deflater: Option<Deflater>,
}

impl Pipeline {
    /// Nothing read yet.
    pub(super) fn new(feed: Feed, how: How, bounds: Bounds, permit: Permit, caller: Caller) -> Result<Self> {
        Ok(Self {
            feed,
            scoring: Scoring::new(Arc::clone(&how.served.scorer), how.timeout, caller.context),
            served: how.served,
            native: how.native,
            notes: caller.traced.then(Vec::new),
            permit,
            bounds,
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
            self.permit.reserve(self.bounds.bytes).inspect_err(count_overload)?;
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
                chunk = self.feed.next(&mut self.permit) => match chunk.and_then(|chunk| self.take(chunk)).inspect_err(count_overload) {
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
        let now = Instant::now();
        self.observe(Stage::Decode, now.checked_sub(decoding).unwrap_or(now), now);
        let bytes = self.feed.inflated().min(self.bounds.bytes).max(self.feed.buffered());
        self.permit.reserve(bytes)?;
        self.submit(chunk);
        Ok(())
    }

    fn submit(&mut self, chunk: Chunk) {
        self.warnings.extend(chunk.warnings);
        // The first chunk is refused like any request; later ones can't be.
        let is_first = self.answer.is_none() && self.scoring.is_empty();
        self.scoring.submit(Inputs::single(chunk.batch), is_first);
    }

    fn write(&mut self, chunk: &ScoredChunk) -> Result<Piece> {
        let ScoredChunk { scored, began, ended } = chunk;
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
        for (stage, duration) in
            [(Stage::Queue, times.queue), (Stage::Convert, times.convert), (Stage::Score, times.score)]
        {
            self.count(stage, duration);
        }
        if let Some(notes) = &mut self.notes {
            notes.push(Note::Dispatched(*began, *ended, dispatched(scored)));
        }
        self.observe(Stage::Encode, started, Instant::now());
        Ok(self.piece(bytes, scored.batch.num_rows()))
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
        Ok(Some(self.piece(bytes, 0)))
    }

    fn piece(&mut self, bytes: Vec<u8>, rows: usize) -> Piece {
        let notes = self.notes.as_mut().map(std::mem::take).unwrap_or_default();
        Piece { bytes: bytes.into(), rows, bytes_in: self.feed.bytes_in(), notes }
    }

    /// Counts a stage that was gone through here, and has the span say so.
    fn observe(&mut self, stage: Stage, start: Instant, end: Instant) {
        self.count(stage, end - start);
        if let Some(notes) = &mut self.notes {
            notes.push(Note::Stage(stage, start, end));
        }
    }

    fn count(&self, stage: Stage, duration: Duration) {
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
        self.bytes = bytes.freeze();
        self.rows += other.rows;
        self.bytes_in = other.bytes_in;
        self.notes.extend(other.notes);
    }

    /// Tells the request's span how the piece came about.
    pub(crate) fn tell(&mut self, span: Option<&mut RequestSpan>) {
        let Some(span) = span else { return };
        for note in self.notes.drain(..) {
            match note {
                Note::Stage(stage, start, end) => span.stage(stage.name(), start, end),
                Note::Dispatched(start, end, dispatched) => span.dispatched(start, end, Some(dispatched)),
            }
        }
    }
}
