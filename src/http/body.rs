//! Reading a body: bounded in bytes, in time, and in its share of the memory
//! for bodies.

use std::error::Error as _;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::admission::Permit;
use crate::error::{Error, Kind, Result};

/// Room made before the first byte came; a caller that promises much and sends
/// nothing gets no more.
const FIRST_ROOM: usize = 64 * 1024;

/// What is read off a refused request so that its connection can be kept.
const DISCARD_BYTES: usize = 64 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Limits of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most bytes.
    pub(crate) bytes: usize,
    /// Longest time from here to the last byte.
    pub(crate) time: Duration,
}

/// Reads the body as it was sent, before any decompression.
///
/// # Errors
/// [`Kind::TooLarge`] as soon as the declared or the real length is over the
/// limit, [`Kind::BodyTimeout`], [`Kind::Malformed`] when the connection or the
/// framing broke, and the errors of [`Permit::reserve`].
pub(crate) async fn read(
    payload: &mut Payload,
    headers: &HeaderMap,
    limits: Limits,
    permit: &mut Permit,
) -> Result<Bytes> {
    let declared = declared_length(headers);
    if declared.is_some_and(|length| length > limits.bytes as u64) {
        return Err(too_large("the body is longer than", limits.bytes));
    }
    // The length that was declared fits, so it fits a usize.
    let declared = declared.map(|length| length as usize);
    permit.reserve(declared.unwrap_or(0))?;
    timeout(limits.time, collect(payload, declared, limits.bytes, permit)).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::BodyTimeout, format!("the body did not arrive within {} s", limits.time.as_secs_f64())))
    })
}

async fn collect(payload: &mut Payload, declared: Option<usize>, limit: usize, permit: &mut Permit) -> Result<Bytes> {
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(broken)?;
    if declared == Some(first.len()) {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0).min(FIRST_ROOM).max(first.len()));
    let mut next = Some(Ok(first));
    while let Some(chunk) = next {
        let chunk = chunk.map_err(broken)?;
        if body.len() + chunk.len() > limit {
            return Err(too_large("the body is longer than", limit));
        }
        body.extend_from_slice(&chunk);
        permit.reserve(body.len())?;
        next = payload.next().await;
    }
    Ok(body.freeze())
}

/// Reads off what a handler left of a request when it is short, and gives back
/// what is too long. HTTP/1.1 can't keep a connection with half a request in
/// it, and callers that are refused for their number should not have to shake
/// hands again.
pub(crate) async fn discard(mut payload: Payload, headers: &HeaderMap) -> Option<Payload> {
    if declared_length(headers).is_some_and(|length| length > DISCARD_BYTES as u64) {
        return Some(payload);
    }
    let read_off = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(chunk)) = payload.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    let at_end = timeout(DISCARD_TIME, read_off).await.unwrap_or(false);
    (!at_end).then_some(payload)
}

/// The error for a body over a limit.
pub(crate) fn too_large(what: &str, limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{what} the {limit} bytes that are allowed; send the rows in several requests"))
}

/// Whether the head says how long the body is, and it is not too long.
pub(crate) fn is_known_to_fit(headers: &HeaderMap, limit: usize) -> bool {
    declared_length(headers).is_some_and(|length| length <= limit as u64)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether an error is that of [`broken`].
pub(crate) fn is_broken(error: &Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<PayloadError>())
}

pub(crate) fn broken(cause: PayloadError) -> Error {
    Error::malformed("the body ended before it was complete, or its framing is broken").because(cause)
}
