//! Whole messages over Unix sockets: blocking for the worker, which has nothing
//! else to do, and asynchronous for the front end. File descriptors travel only
//! from the front end to a zygote, beside the first byte of a message.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};

use super::protocol::{Encoded, PREAMBLE, parse_preamble};

/// Head and body of a received message.
#[derive(Debug, Default)]
pub struct Received {
    /// Postcard bytes.
    pub head: Vec<u8>,
    /// Arrow IPC bytes.
    pub body: Vec<u8>,
    /// File descriptors that came along.
    pub descriptors: Vec<OwnedFd>,
}

/// Most file descriptors that come with a message.
const MAX_DESCRIPTORS: usize = 3;

/// Waits for a message; `None` when the peer closed the socket between two.
///
/// # Errors
/// When the socket fails, the peer stops within a message, or the message is
/// not of the protocol or over `max_body` bytes.
pub fn receive(stream: &mut UnixStream, max_body: usize) -> io::Result<Option<Received>> {
    let mut preamble = [0; PREAMBLE];
    let mut received = Received::default();
    let first = receive_with_descriptors(stream, &mut preamble, &mut received.descriptors)?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut preamble[first..])?;
    let lengths = parse_preamble(&preamble, max_body)?;
    received.head.resize(lengths.head, 0);
    stream.read_exact(&mut received.head)?;
    received.body.resize(lengths.body, 0);
    stream.read_exact(&mut received.body)?;
    Ok(Some(received))
}

/// Sends a message.
///
/// # Errors
/// When the socket fails.
pub fn send(stream: &mut UnixStream, message: &Encoded) -> io::Result<()> {
    stream.write_all(message.as_bytes())
}

fn receive_with_descriptors(
    stream: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let bytes = loop {
        match recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(bytes)
}

/// As [`receive`], for the front end; never takes file descriptors.
///
/// # Errors
/// As [`receive`].
pub async fn receive_async(stream: &mut (impl AsyncRead + Unpin), max_body: usize) -> io::Result<Option<Received>> {
    let mut preamble = [0; PREAMBLE];
    let first = stream.read(&mut preamble).await?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut preamble[first..]).await?;
    let lengths = parse_preamble(&preamble, max_body)?;
    let mut received = Received { head: vec![0; lengths.head], body: vec![0; lengths.body], descriptors: Vec::new() };
    stream.read_exact(&mut received.head).await?;
    stream.read_exact(&mut received.body).await?;
    Ok(Some(received))
}

/// As [`send`], for the front end.
///
/// # Errors
/// When the socket fails.
pub async fn send_async(stream: &mut (impl AsyncWrite + Unpin), message: &Encoded) -> io::Result<()> {
    stream.write_all(message.as_bytes()).await
}

/// Sends a message with file descriptors beside its first byte, three at most.
///
/// # Errors
/// When the socket fails.
pub async fn send_with_descriptors(
    stream: &tokio::net::UnixStream,
    message: &Encoded,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = message.as_bytes();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::other("no room for the file descriptors in a message"));
            }
            Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
        })
        .await?;
    // The descriptors went with the bytes that were taken; the rest follows as
    // ordinary bytes.
    bytes = &bytes[sent..];
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
