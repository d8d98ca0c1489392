//! A transport that gives up a caller which does not do its part: it sends a
//! head without end, or does not take its answer. The limits are looked at
//! whenever the transport is, and one alarm per connection sees to it that it
//! is; an alarm that turns out to be early costs a look and is set anew.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::connections::Connection;
use crate::telemetry::metrics;

/// Bytes that count as progress of an answer that the kernel does not take whole.
const PROGRESS: usize = 16 * 1024;

/// A transport with its connection.
pub(super) struct Watched<S> {
    stream: S,
    connection: Connection,
    /// What was written and not yet taken by the kernel, since when.
    unsent: Option<Unsent>,
    alarm: Option<Alarm>,
}

struct Unsent {
    since: Instant,
    taken: usize,
}

struct Alarm {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, connection: Connection) -> Self {
        Self { stream, connection, unsent: None, alarm: None }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// An error when the caller owes something for too long; else sees to it that
    /// this is asked again in time.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let unsent = self.unsent.as_ref().map(|unsent| (unsent.since + self.connection.write_timeout(), "answer"));
        let Some((due, what)) = [unsent, self.connection.due()].into_iter().flatten().min() else {
            return Ok(());
        };
        let now = Instant::now();
        if now >= due {
            return Err(cut(what));
        }
        if self.alarm.as_ref().is_some_and(|alarm| now < alarm.at && alarm.at <= due) {
            return Ok(());
        }
        let alarm = self.alarm.get_or_insert_with(|| Alarm { at: due, sleep: Box::pin(sleep_until(due.into())) });
        alarm.at = due;
        alarm.sleep.as_mut().reset(due.into());
        if alarm.sleep.as_mut().poll(cx).is_ready() {
            return Err(cut(what));
        }
        Ok(())
    }

    /// Notes what became of an attempt to send.
    fn sent<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>, bytes: usize) -> Poll<io::Result<T>> {
        if result.is_pending() {
            self.unsent.get_or_insert_with(|| Unsent { since: Instant::now(), taken: 0 });
            self.check(cx)?;
        } else if let Some(unsent) = &mut self.unsent {
            unsent.taken += bytes;
            if unsent.taken >= PROGRESS {
                self.unsent = None;
            }
        }
        result
    }
}

fn cut(what: &'static str) -> io::Error {
    metrics::connection_cut(what);
    io::ErrorKind::TimedOut.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if result.is_pending() {
            self.check(cx)?;
        } else if self.connection.received(buffer.filled().len() - before) {
            metrics::connection_cut("flood");
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let taken = if let Poll::Ready(Ok(taken)) = &result { *taken } else { 0 };
        self.sent(cx, result, taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        let taken = if let Poll::Ready(Ok(taken)) = &result { *taken } else { 0 };
        self.sent(cx, result, taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // All that was written is with the kernel.
        let taken = if result.is_ready() { PROGRESS } else { 0 };
        self.sent(cx, result, taken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.sent(cx, result, 0)
    }
}
