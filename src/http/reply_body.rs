//! Bodies of answers. A body carries the record of its request, so that the
//! request counts as in flight, and is logged, only when its last byte was
//! taken by the connection or the connection went away.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::StreamExt;

use super::LINGER;
use super::access_log::Record;
use super::connections::RequestUnderway;
use super::doors::Rest;
use crate::error::Error;

/// Bytes handed out at a time. A connection asks for the next piece when most
/// of the last was written, so no more than this is unsent when the body ends.
const PIECE: usize = 32 * 1024;

/// The body of an answer.
pub(crate) struct ReplyBody {
    /// What is there and was not handed out.
    ready: Bytes,
    /// What is made while it is sent.
    rest: Option<Rest>,
    record: Record,
    // Where the connection keeps count of it.
    underway: Option<RequestUnderway>,
    // Of a request that was refused while its body was still arriving. As long
    // as an HTTP/1.1 connection sees that somebody holds it, it closes after
    // the answer and lingers for a bounded time, instead of reading on without
    // end for the sake of a connection that can be used again.
    unread: Option<Payload>,
}

impl ReplyBody {
    /// A body that ends the `record` when it was sent.
    pub(crate) fn new(
        bytes: Bytes,
        mut record: Record,
        underway: Option<RequestUnderway>,
        unread: Option<Payload>,
    ) -> Self {
        record.bytes_out = bytes.len();
        // Nobody asks for the bytes of an answer to HEAD.
        record.complete = bytes.is_empty() || record.is_head();
        Self { ready: bytes, rest: None, record, underway, unread }
    }

    /// A body that is made while it is sent, and ends the `record` after it.
    pub(crate) fn streamed(rest: Rest, record: Record, underway: Option<RequestUnderway>) -> Self {
        Self { ready: Bytes::new(), rest: Some(rest), record, underway, unread: None }
    }

    /// Waits for the next bytes of an answer that is made while it is sent; without
    /// any after its end.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let record = &mut self.record;
        while let Some(rest) = self.rest.as_mut().filter(|_| self.ready.is_empty()) {
            match ready!(rest.poll_next_unpin(context)) {
                Some(Ok(mut piece)) => {
                    piece.tell(record.span());
                    record.rows = Some(record.rows.unwrap_or(0) + piece.rows);
                    record.bytes_in = piece.bytes_in;
                    record.bytes_out += piece.bytes.len();
                    self.ready = piece.bytes;
                }
                // The connection is closed in the middle of the body, which is how the
                // caller learns of it: the status is gone out long ago.
                Some(Err(error)) => {
                    record.failed(&error);
                    record.broken_off = true;
                    return Poll::Ready(Err(error));
                }
                None => self.rest = None,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn note_sending(&self, given: bool) {
        if let Some(underway) = &self.underway {
            underway.sending(given);
        }
    }
}

/// Takes what a caller goes on sending after its answer. A stream that is
/// dropped instead is reset, and clients (curl 7.88 for one) then report the
/// reset and not the answer. HTTP/1.1 connections do the same by themselves.
async fn read_off(mut unread: Payload, _underway: Option<RequestUnderway>) {
    let rest = async { while let Some(Ok(_)) = unread.next().await {} };
    // Out of time, the stream is reset after all.
    let _ = tokio::time::timeout(LINGER, rest).await;
}

impl MessageBody for ReplyBody {
    type Error = Error;

    fn size(&self) -> BodySize {
        match self.rest {
            None => BodySize::Sized(self.ready.len() as u64),
            Some(_) => BodySize::Stream,
        }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = self.get_mut();
        if this.rest.is_some() {
            this.note_sending(false);
            if let Err(error) = ready!(this.poll_rest(context)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        if this.ready.is_empty() {
            this.record.complete = true;
            if let Some(unread @ Payload::H2 { .. }) = this.unread.take() {
                let underway = this.underway.take();
                actix_web::rt::spawn(read_off(unread, underway));
            }
            return Poll::Ready(None);
        }
        this.note_sending(true);
        let piece = this.ready.len().min(PIECE);
        Poll::Ready(Some(Ok(this.ready.split_to(piece))))
    }
}
