//! Bodies of answers. A body carries the record of its request, so that the
//! request counts as in flight, and is logged, only when its last byte was
//! taken by the connection or the connection went away.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::StreamExt;

use super::LINGER;
use super::access_log::Record;
use super::connections::RequestUnderway;

/// Bytes handed out at a time. A connection asks for the next piece when most
/// of the last was written, so no more than this is unsent when the body ends.
const PIECE: usize = 32 * 1024;

/// The body of an answer.
pub(crate) struct ReplyBody {
    rest: Bytes,
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
        Self { rest: bytes, record, underway, unread }
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
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            self.record.complete = true;
            if let Some(unread @ Payload::H2 { .. }) = self.unread.take() {
                let underway = self.underway.take();
                actix_web::rt::spawn(read_off(unread, underway));
            }
            return Poll::Ready(None);
        }
        if let Some(underway) = &self.underway {
            underway.sending(true);
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(piece))))
    }
}
