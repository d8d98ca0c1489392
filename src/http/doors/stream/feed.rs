//! Chunks of rows from a body that is arriving.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::How;
use super::patience::Patience;
use crate::error::{Error, Result};
use crate::frame::json::NonFinite;
use crate::frame::stream::{Chunk, Decoder, OnMisfit, StreamOptions, decoder};
use crate::http::admission::Permit;
use crate::http::body;
use crate::http::coding::{Inflated, Inflater};
use crate::http::layers::Exchange;
use crate::lifecycle::Phase;

/// What comes next.
enum Step {
    Chunk(Chunk),
    Continue,
    Read,
    End,
}

/// A body and how it is read.
pub(super) struct Feed {
    payload: Payload,
    inflater: Inflater,
    decoder: Box<dyn Decoder>,
    max_bytes: usize,
    max_rows: usize,
    patience: Patience,
    phase: watch::Receiver<Phase>,
    /// Bytes as they were sent, and as they were inflated.
    bytes_in: usize,
    inflated: usize,
    ended: bool,
    decoding: Duration,
}

impl Feed {
    /// The body of a request, whose payload is taken.
    pub(super) fn new(exchange: &mut Exchange, how: &How, chunk_bytes: usize) -> Result<Self> {
        let state = &exchange.state;
        let format = how.native.body;
        let schemas = &how.served.info.schemas;
        let schema = schemas.as_single().ok_or_else(|| Error::internal("several inputs can't be streamed"))?;
        let options = StreamOptions {
            max_record_bytes: state.stream.max_record_bytes,
            max_message_bytes: state.max_body_bytes,
            chunk_bytes,
            on_misfit: OnMisfit::Fail,
            non_finite_strings: how.native.non_finite == NonFinite::String,
        };
        let decoder = decoder(format, Arc::new(schema.clone()), options);
        Ok(Self {
            inflater: Inflater::new(how.coding, chunk_bytes)?,
            decoder: decoder.ok_or_else(|| Error::internal(format!("{format} can't be streamed")))?,
            max_bytes: state.stream.max_bytes,
            max_rows: state.stream.rows,
            patience: Patience::new(state.body_timeout, state.stream.min_rate),
            phase: state.lifecycle.subscribe(),
            payload: std::mem::replace(&mut exchange.payload, Payload::None),
            bytes_in: 0,
            inflated: 0,
            ended: false,
            decoding: Duration::ZERO,
        })
    }

    /// The next rows, when so many have come; `None` after the last. May be dropped
    /// while it waits and called again. What is held until there are so many counts
    /// against the permit.
    ///
    /// # Errors
    /// Those of the decoder and of [`Permit::reserve`], [`TooLarge`](crate::error::Kind::TooLarge) for more
    /// bytes than a stream may have, [`BodyTimeout`](crate::error::Kind::BodyTimeout) when too little comes for
    /// too long.
    pub(super) async fn next(&mut self, permit: &mut Permit) -> Result<Option<Chunk>> {
        loop {
            let started = Instant::now();
            let step = self.decode(permit);
            self.decoding += started.elapsed();
            match step? {
                Step::Chunk(chunk) => return Ok(Some(chunk)),
                Step::Continue => {}
                Step::Read => self.read().await?,
                Step::End => return Ok(None),
            }
        }
    }

    /// Goes on as far as a piece of the bytes that are there.
    fn decode(&mut self, permit: &mut Permit) -> Result<Step> {
        if let Some(chunk) = self.decoder.next_chunk(self.max_rows)? {
            return Ok(Step::Chunk(chunk));
        }
        if self.ended {
            return Ok(Step::End);
        }
        match self.inflater.next()? {
            Inflated::Bytes(bytes) => {
                self.inflated += bytes.len();
                if self.inflated > self.max_bytes {
                    return Err(body::too_large("the body is longer than", self.max_bytes));
                }
                self.decoder.push(bytes)?;
                permit.reserve(self.decoder.buffered())?;
            }
            Inflated::Waits => return Ok(Step::Read),
            Inflated::End => {
                self.ended = true;
                self.decoder.finish()?;
            }
        }
        Ok(Step::Continue)
    }

    async fn read(&mut self) -> Result<()> {
        let next = self.patience.wait(self.payload.next(), &mut self.phase).await;
        match next? {
            Some(bytes) => {
                let bytes = bytes.map_err(body::broken)?;
                self.patience.arrived(bytes.len());
                self.bytes_in += bytes.len();
                if self.bytes_in > self.max_bytes {
                    return Err(body::too_large("the body is longer than", self.max_bytes));
                }
                self.inflater.push(bytes);
            }
            None => self.inflater.end(),
        }
        Ok(())
    }

    /// Whether all rows were given.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of the body so far, as they were sent.
    pub(super) fn bytes_in(&self) -> usize {
        self.bytes_in
    }

    /// Bytes of the body so far, inflated.
    pub(super) fn inflated(&self) -> usize {
        self.inflated
    }

    /// Time that was spent on decoding since this was last asked for.
    pub(super) fn take_decoding(&mut self) -> Duration {
        std::mem::take(&mut self.decoding)
    }

    /// Bytes that were read and are not part of a chunk yet.
    pub(super) fn buffered(&self) -> usize {
        self.decoder.buffered()
    }

    /// What was not read.
    pub(super) fn into_payload(self) -> Payload {
        self.payload
    }
}
