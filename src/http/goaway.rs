//! Tells HTTP/2 callers that their connection ends (GOAWAY, RFC 9113, section
//! 6.8), as `Connection: close` tells those of HTTP/1.1: what was asked is
//! answered, and what is new goes to another connection. The library that
//! speaks HTTP/2 says so only when it is asked to, and actix does not ask. So
//! the frame is put between two of its own on their way out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Bytes before the payload of a frame.
const HEAD: usize = 9;

/// The frame: no error, and no request that is under way is given up.
const GOAWAY: [u8; HEAD + 8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A transport that carries the frame when it is time.
pub(super) struct WithGoaway<S> {
    stream: S,
    /// Until the frame was sent.
    notice: Option<Notice>,
    /// It was written, and may not be with the kernel yet.
    unflushed: bool,
}

struct Notice {
    stopping: Pin<Box<dyn Future<Output = ()>>>,
    is_due: bool,
    frames: Frames,
    /// Bytes of it that are out.
    written: usize,
}

/// Where frames begin, as their bytes go by.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that went by.
    filled: usize,
    /// Bytes of the payload that have not.
    payload: usize,
    /// Whether the settings went out, which must come first.
    began: bool,
    /// Whether a block of headers goes on in the next frame, which must follow at once.
    in_headers: bool,
}

impl<S: AsyncWrite + Unpin> WithGoaway<S> {
    /// Carries the frame once `stopping` resolves.
    pub(super) fn when(stopping: impl Future<Output = ()> + 'static, stream: S) -> Self {
        let frames = Frames::default();
        let notice = Notice { stopping: Box::pin(stopping), is_due: false, frames, written: 0 };
        Self { stream, notice: Some(notice), unflushed: false }
    }

    /// A transport of another protocol.
    pub(super) fn never(stream: S) -> Self {
        Self { stream, notice: None, unflushed: false }
    }

    /// Writes the frame if it is time. Ready when others may be written.
    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(notice) = &mut self.notice else { return Poll::Ready(Ok(())) };
        if !notice.is_due || !notice.frames.is_between() {
            return Poll::Ready(Ok(()));
        }
        while notice.written < GOAWAY.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &GOAWAY[notice.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => notice.written += written,
            }
        }
        (self.notice, self.unflushed) = (None, true);
        Poll::Ready(Ok(()))
    }

    /// Looks whether it is time, for a connection that may have nothing else to say.
    fn poll_stopping(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(notice) = self.notice.as_mut().filter(|notice| !notice.is_due) {
            notice.is_due = notice.stopping.as_mut().poll(cx).is_ready();
        }
        if let Poll::Ready(written) = self.poll_notice(cx) {
            written?;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            self.unflushed = false;
            flushed?;
        }
        Ok(())
    }

    fn passed<'a>(&mut self, taken: usize, pieces: impl IntoIterator<Item = &'a [u8]>) {
        let Some(notice) = &mut self.notice else { return };
        let mut left = taken;
        for piece in pieces {
            let part = &piece[..piece.len().min(left)];
            notice.frames.pass(part);
            left -= part.len();
        }
    }
}

impl Frames {
    /// Bytes go by.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.payload {
                0 => (HEAD - self.filled).min(bytes.len()),
                payload => payload.min(bytes.len()),
            };
            let (part, rest) = bytes.split_at(taken);
            bytes = rest;
            if self.payload > 0 {
                self.payload -= taken;
                continue;
            }
            self.head[self.filled..self.filled + taken].copy_from_slice(part);
            self.filled += taken;
            if self.filled == HEAD {
                self.enter();
            }
        }
    }

    /// A head is complete.
    fn enter(&mut self) {
        let [first, second, third, kind, flags, ..] = self.head;
        self.payload = usize::from(first) << 16 | usize::from(second) << 8 | usize::from(third);
        (self.filled, self.began) = (0, true);
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.in_headers = flags & END_HEADERS == 0;
        }
    }

    /// Whether another frame may stand here.
    fn is_between(&self) -> bool {
        self.began && self.filled == 0 && self.payload == 0 && !self.in_headers
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WithGoaway<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // Whoever speaks HTTP/2 waits here whenever there is nothing to do.
        if result.is_pending() {
            self.poll_stopping(cx)?;
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithGoaway<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_notice(cx))?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.passed(taken, [bytes]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_notice(cx))?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        self.passed(taken, pieces.iter().map(|piece| &**piece));
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_notice(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;

    use super::*;

    const DATA: u8 = 0;
    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("a short payload");
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Where another frame may stand in these bytes, which come in pieces of one size.
    fn places(bytes: &[u8], size: usize) -> Vec<usize> {
        let (mut frames, mut passed, mut places) = (Frames::default(), 0, Vec::new());
        for piece in bytes.chunks(size) {
            frames.pass(piece);
            passed += piece.len();
            if frames.is_between() {
                places.push(passed);
            }
        }
        places
    }

    #[test]
    fn frames_are_told_apart_however_their_bytes_come() {
        let bytes = [
            frame(SETTINGS, 0, &[]),
            frame(HEADERS, END_HEADERS, b"all of them"),
            frame(HEADERS, 0, b"some"),
            frame(CONTINUATION, 0, b"more"),
            frame(CONTINUATION, END_HEADERS, b"the last"),
            frame(DATA, 1, b"\x00\x00\x01\x01\x00"),
        ];
        // Nothing may stand before the settings, nor within a block of headers.
        let wanted = [9, 29, 72, 86];
        let bytes = bytes.concat();
        assert_eq!(places(&bytes, 1), wanted);
        for size in 2..=bytes.len() {
            let seen = places(&bytes, size);
            assert_eq!(seen.last(), Some(&bytes.len()), "pieces of {size}");
            assert!(seen.iter().all(|place| wanted.contains(place)), "pieces of {size}: {seen:?}");
        }
    }

    /// A transport, its other end, and what stops it.
    fn transport() -> (WithGoaway<DuplexStream>, DuplexStream, oneshot::Sender<()>) {
        let (near, far) = duplex(1024);
        let (stop, stopped) = oneshot::channel();
        let stopping = async {
            let _ = stopped.await;
        };
        (WithGoaway::when(stopping, near), far, stop)
    }

    /// Waits for bytes of the caller, of which there are none.
    fn wait(transport: &mut WithGoaway<DuplexStream>) {
        assert!(transport.read(&mut [0; 8]).now_or_never().is_none());
    }

    fn received(far: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        while far.read_buf(&mut bytes).now_or_never().is_some() {}
        bytes
    }

    #[tokio::test]
    async fn an_idle_connection_is_told_at_once_and_once() {
        let (mut transport, mut far, stop) = transport();
        let settings = frame(SETTINGS, 0, &[]);
        transport.write_all(&settings).await.expect("room");
        wait(&mut transport);
        assert_eq!(received(&mut far), settings, "nothing stops");
        stop.send(()).expect("somebody waits");
        wait(&mut transport);
        assert_eq!(received(&mut far), GOAWAY);
        let answer = frame(DATA, 1, b"an answer");
        transport.write_all(&answer).await.expect("room");
        wait(&mut transport);
        assert_eq!(received(&mut far), answer);
    }

    #[tokio::test]
    async fn a_frame_that_has_begun_is_finished_first() {
        let (mut transport, mut far, stop) = transport();
        stop.send(()).expect("somebody waits");
        wait(&mut transport);
        assert_eq!(received(&mut far), [0; 0], "the settings come first");
        let (settings, answer) = (frame(SETTINGS, 0, &[]), frame(DATA, 1, b"an answer"));
        transport.write_all(&[&settings[..], &answer[..12]].concat()).await.expect("room");
        wait(&mut transport);
        assert_eq!(received(&mut far), [&settings[..], &answer[..12]].concat());
        transport.write_all(&answer[12..]).await.expect("room");
        transport.flush().await.expect("an open connection");
        assert_eq!(received(&mut far), [&answer[12..], &GOAWAY].concat());
    }

    #[tokio::test]
    async fn other_protocols_are_left_alone() {
        let (near, mut far) = duplex(1024);
        let mut transport = WithGoaway::never(near);
        transport.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("room");
        wait(&mut transport);
        assert_eq!(received(&mut far), b"HTTP/1.1 200 OK\r\n\r\n");
    }
}
