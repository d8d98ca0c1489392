//! Bodies of answers. A body carries the record of its request, so that the
//! request counts as in flight, and is logged, only when its last byte was
//! taken by the connection or the connection went away.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;

use super::access_log::Record;

/// Bytes handed out at a time. A connection asks for the next piece when most
/// of the last was written, so no more than this is unsent when the body ends.
const PIECE: usize = 32 * 1024;

/// The body of an answer.
pub(crate) struct ReplyBody {
    rest: Bytes,
    record: Record,
    // Held, not read: with a request body that is still arriving, the
    // connection then lingers after the answer for a bounded time instead of
    // reading without end.
    _unread: Payload,
}

impl ReplyBody {
    /// A body that ends the `record` when it was sent.
    pub(crate) fn new(bytes: Bytes, mut record: Record, unread: Payload) -> Self {
        record.bytes_out = bytes.len();
        // Nobody asks for the bytes of an answer to HEAD.
        record.complete = bytes.is_empty() || record.is_head();
        Self { rest: bytes, record, _unread: unread }
    }
}

impl MessageBody for ReplyBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            self.record.complete = true;
            return Poll::Ready(None);
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(piece))))
    }
}
