//! Bounds on what is in the house at once: requests that were accepted and not
//! yet answered, and bytes of their bodies. What exceeds a bound is refused at
//! once, for a queue that grows only makes every answer late.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, Kind, Overload, Result};

/// When a refused caller should try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bodies of the largest size that may be in memory together.
const LARGEST_BODIES: usize = 8;

/// How much of the memory for bodies those may take that are scored while they
/// arrive: the other part is for those that come as a whole and are soon gone.
const SHARE_OF_STREAMS: (usize, usize) = (1, 2);

/// Bytes that one permit of the byte budget stands for.
const GRAIN: usize = 1024;

/// The bounds of one server.
pub(crate) struct Admission {
    max_requests: usize,
    requests: Arc<Semaphore>,
    body_grains: Arc<Semaphore>,
    stream_grains: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
}

/// The right to be worked on. It travels with the work, also into a blocking
/// thread, and counts the bytes that the request's body takes: as it was sent, and
/// inflated. What becomes of them is not counted but bounded, for each format, by a
/// multiple of them: a byte of CSV may be a value of 8 bytes and as much to find it,
/// while it is decoded.
#[derive(Debug)]
pub(crate) struct Permit {
    _request: OwnedSemaphorePermit,
    body: Share,
    /// What counts of it as a body that is scored while it arrives.
    stream: Option<Share>,
    stream_grains: Arc<Semaphore>,
}

/// What is held of a budget.
#[derive(Debug)]
struct Share {
    grains: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// At most `max_requests` at once, each with a body of at most `max_body_bytes`.
    pub(crate) fn new(max_requests: usize, max_body_bytes: usize) -> Self {
        let max_requests = max_requests.clamp(1, Semaphore::MAX_PERMITS);
        let grains = grains(max_body_bytes).saturating_mul(LARGEST_BODIES).min(Semaphore::MAX_PERMITS);
        let of_streams = grains / SHARE_OF_STREAMS.1 * SHARE_OF_STREAMS.0;
        Self {
            max_requests,
            requests: Arc::new(Semaphore::new(max_requests)),
            body_grains: Arc::new(Semaphore::new(grains)),
            stream_grains: Arc::new(Semaphore::new(of_streams)),
            decoding: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get))),
        }
    }

    /// Waits until a large body may be decoded: as many at once as there are cores. More
    /// would be done no sooner, and each takes a multiple of its bytes meanwhile.
    pub(crate) async fn turn_to_decode(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.decoding).acquire_owned().await.map_err(Error::internal)
    }

    /// Takes a place, or refuses with [`Kind::Overloaded`].
    pub(crate) fn enter(&self) -> Result<Permit> {
        let request = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| {
            overloaded(
                Overload::Requests,
                format!("{} requests are being answered already; try again later", self.max_requests),
            )
        })?;
        let body = Share { grains: Arc::clone(&self.body_grains), held: None };
        Ok(Permit { _request: request, body, stream: None, stream_grains: Arc::clone(&self.stream_grains) })
    }
}

impl Permit {
    /// The same for a body that is scored while it arrives.
    pub(crate) fn of_stream(mut self) -> Self {
        self.stream = Some(Share { grains: Arc::clone(&self.stream_grains), held: None });
        self
    }

    /// Reserves memory for a body of `bytes` in all, or refuses with [`Kind::Overloaded`].
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.stream.iter_mut().chain([&mut self.body]).try_for_each(|share| share.grow(grains(bytes)))
    }
}

impl Share {
    fn grow(&mut self, grains: usize) -> Result<()> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = grains.checked_sub(held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).map_err(|_| TryAcquireError::NoPermits);
        let more = more.and_then(|more| Arc::clone(&self.grains).try_acquire_many_owned(more)).map_err(|_| {
            let detail = "the bodies of other requests take up the memory for bodies; try again later";
            overloaded(Overload::BodyMemory, detail.to_owned())
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

fn grains(bytes: usize) -> usize {
    bytes.div_ceil(GRAIN)
}

fn overloaded(what: Overload, detail: String) -> Error {
    Error::new(Kind::Overloaded { what, retry_after: RETRY_AFTER }, detail)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_overloaded<T: std::fmt::Debug>(result: Result<T>) -> bool {
        matches!(result.expect_err("must be refused").kind(), Kind::Overloaded { .. })
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let admission = Admission::new(2, 1024);
        let first = admission.enter().expect("the first place");
        let _second = admission.enter().expect("the second place");
        assert!(is_overloaded(admission.enter()));
        drop(first);
        admission.enter().expect("the place that became free");
    }

    #[test]
    fn bodies_share_a_budget_of_bytes() {
        let admission = Admission::new(100, 4096);
        let mut permits: Vec<Permit> = (0..LARGEST_BODIES)
            .map(|_| {
                let mut permit = admission.enter().expect("a place");
                permit.reserve(100).expect("a start");
                permit.reserve(4096).expect("a body of the largest size");
                permit.reserve(1).expect("less than what is held");
                permit
            })
            .collect();
        let mut late = admission.enter().expect("a place");
        assert!(is_overloaded(late.reserve(1)));
        permits.pop();
        late.reserve(4096).expect("the bytes that became free");
    }

    #[tokio::test]
    async fn no_more_bodies_are_decoded_at_once_than_there_are_cores() {
        let admission = Admission::new(100, 4096);
        let mut turns = Vec::new();
        while let Some(turn) = admission.turn_to_decode().now_or_never() {
            turns.push(turn.expect("a turn"));
        }
        assert_eq!(turns.len(), available_parallelism().expect("cores").get());
        turns.pop();
        assert!(admission.turn_to_decode().now_or_never().is_some());
    }

    #[test]
    fn streams_leave_memory_for_bodies_that_come_as_a_whole() {
        let admission = Admission::new(100, 4096);
        let enter = || admission.enter().expect("a place");
        let mut streams: Vec<Permit> = (0..LARGEST_BODIES / 2).map(|_| enter().of_stream()).collect();
        for stream in &mut streams {
            stream.reserve(4096).expect("the share of streams");
        }
        assert!(is_overloaded(enter().of_stream().reserve(1)));
        let mut whole = enter();
        whole.reserve(4096).expect("the rest is for others");
        streams.pop();
        enter().of_stream().reserve(4096).expect("the bytes that became free");
    }
}
