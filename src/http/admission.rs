//! Bounds on what is in the house at once: requests that were accepted and not
//! yet answered, and bytes of their bodies. What exceeds a bound is refused at
//! once, for a queue that grows only makes every answer late.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, Kind, Result};

/// When a refused caller should try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bodies of the largest size that may be in memory together.
const LARGEST_BODIES: usize = 8;

/// Bytes that one permit of the byte budget stands for.
const GRAIN: usize = 1024;

/// The bounds of one server.
pub(crate) struct Admission {
    max_requests: usize,
    requests: Arc<Semaphore>,
    body_grains: Arc<Semaphore>,
}

/// The right to be worked on. It travels with the work, also into a blocking
/// thread, and counts the bytes that the request's body takes.
#[derive(Debug)]
pub(crate) struct Permit {
    _request: OwnedSemaphorePermit,
    body_grains: Arc<Semaphore>,
    body: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// At most `max_requests` at once, each with a body of at most `max_body_bytes`.
    pub(crate) fn new(max_requests: usize, max_body_bytes: usize) -> Self {
        let max_requests = max_requests.clamp(1, Semaphore::MAX_PERMITS);
        let grains = grains(max_body_bytes).saturating_mul(LARGEST_BODIES).min(Semaphore::MAX_PERMITS);
        Self {
            max_requests,
            requests: Arc::new(Semaphore::new(max_requests)),
            body_grains: Arc::new(Semaphore::new(grains)),
        }
    }

    /// Takes a place, or refuses with [`Kind::Overloaded`].
    pub(crate) fn enter(&self) -> Result<Permit> {
        let request = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| {
            overloaded(format!("{} requests are being answered already; try again later", self.max_requests))
        })?;
        Ok(Permit { _request: request, body_grains: Arc::clone(&self.body_grains), body: None })
    }
}

impl Permit {
    /// Reserves memory for a body of `bytes` in all, or refuses with [`Kind::Overloaded`].
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<()> {
        let held = self.body.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = grains(bytes).checked_sub(held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).map_err(|_| TryAcquireError::NoPermits);
        let more = more.and_then(|more| Arc::clone(&self.body_grains).try_acquire_many_owned(more)).map_err(|_| {
            overloaded("the bodies of other requests take up the memory for bodies; try again later".to_owned())
        })?;
        match &mut self.body {
            Some(body) => body.merge(more),
            None => self.body = Some(more),
        }
        Ok(())
    }
}

fn grains(bytes: usize) -> usize {
    bytes.div_ceil(GRAIN)
}

fn overloaded(detail: String) -> Error {
    Error::new(Kind::Overloaded { retry_after: RETRY_AFTER }, detail)
}

#[cfg(test)]
mod tests {
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
}
