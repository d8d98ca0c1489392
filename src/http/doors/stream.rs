//! Requests that are scored while their body arrives: rows are read a chunk at a
//! time, scored while the next are read, and answered in order. What is in memory
//! is bounded, however long the body is: reading stops while scoring is behind, and
//! scoring while the caller does not take its answer.
//!
//! The status waits for the first chunk, so that what is wrong with it is told as
//! with any request. Later the answer can only be broken off.

mod feed;
mod patience;
mod pipeline;
mod scoring;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};

use self::feed::Feed;
pub(crate) use self::pipeline::Piece;
use self::pipeline::{Bounds, Caller, Pipeline};
use super::native::{Native, content_type};
use super::ok;
use crate::error::Result;
use crate::http::admission::Permit;
use crate::http::coding::Coding;
use crate::http::layers::{self, Exchange};
use crate::http::respond::Failure;
use crate::scoring::catalog::Served;

/// The rest of an answer that has begun.
pub(crate) type Rest = LocalBoxStream<'static, Result<Piece>>;

/// Bytes of rows that make a chunk, however few they are.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Fewest and most chunks that are scored at once.
const WINDOW: (usize, usize) = (2, 16);

/// What is to be done with a body.
pub(super) struct How {
    pub(super) native: Native,
    pub(super) served: Served,
    pub(super) coding: Coding,
    pub(super) answer_coding: Coding,
    /// For each chunk, from when it was read.
    pub(super) timeout: Duration,
}

/// Scores a body while it arrives. An answer that is complete after the first
/// chunk is given as a whole.
pub(super) async fn score(exchange: &mut Exchange, how: How, permit: Permit) -> Result<HttpResponse, Failure> {
    let (format, answer_coding) = (how.native.answer, how.answer_coding);
    // Two chunks for each worker: one that is scored, and one that waits for it.
    let window = (2 * how.served.scorer.ready_workers()).clamp(WINDOW.0, WINDOW.1);
    // A stream takes no more memory than the largest body that comes as a whole.
    let max_bytes = exchange.state.max_body_bytes;
    let chunk_bytes = (max_bytes / (window + 1)).clamp(1, CHUNK_BYTES);
    let feed = Feed::new(exchange, &how, chunk_bytes)?;
    let bounds = Bounds { window, bytes: (window + 1) * chunk_bytes };
    let caller = Caller { context: exchange.record.context.clone(), traced: exchange.record.span().is_some() };
    let mut pipeline = Pipeline::new(feed, how, bounds, permit.of_stream(), caller)?;
    let mut first = match pipeline.first().await {
        Ok(first) => first,
        Err(error) => {
            exchange.record.bytes_in = pipeline.bytes_in();
            exchange.payload = pipeline.into_payload();
            return Err(error.into());
        }
    };
    if pipeline.is_at_end() {
        while let Some(piece) = pipeline.next().await? {
            first.append(piece);
        }
        exchange.record.bytes_in = first.bytes_in;
        exchange.record.rows = Some(first.rows);
        first.tell(exchange.record.span());
        exchange.payload = pipeline.into_payload();
        return Ok(ok(content_type(format), answer_coding).body(first.bytes));
    }
    let rest = stream::try_unfold(pipeline, |mut pipeline| async move {
        let next = pipeline.next().await;
        next.map(|piece| piece.map(|piece| (piece, pipeline)))
    });
    // Nothing is above this but the connection, on which there may be other requests.
    let rest = AssertUnwindSafe(rest).catch_unwind();
    let rest = rest.map(|piece| piece.unwrap_or_else(|panic| Err(layers::panicked(panic.as_ref()))));
    exchange.rest = Some(stream::iter([Ok(first)]).chain(rest).boxed_local());
    Ok(ok(content_type(format), answer_coding).finish())
}
