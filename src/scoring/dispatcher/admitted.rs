//! A request between its admission and its answer. When its caller leaves, it
//! leaves the queue in that moment, and its place is another's.

use tokio::sync::oneshot;

use super::Shared;
use crate::error::{Error, Result};
use crate::scoring::Scored;
use crate::scoring::queue::Ticket;
use crate::scoring::workers::Workers;

/// A request that was admitted; dropping it abandons the answer, not a worker that is
/// busy with it.
pub(super) struct Admitted<'a, W: Workers> {
    shared: &'a Shared<W>,
    /// Its place in the queue, where it waits or has waited.
    ticket: Option<Ticket>,
    answered: oneshot::Receiver<Result<Scored>>,
}

impl<'a, W: Workers> Admitted<'a, W> {
    pub(super) fn new(
        shared: &'a Shared<W>,
        ticket: Option<Ticket>,
        answered: oneshot::Receiver<Result<Scored>>,
    ) -> Self {
        Self { shared, ticket, answered }
    }

    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Result<Scored> {
        let answer = (&mut self.answered).await;
        self.ticket = None;
        answer.unwrap_or_else(|_| Err(Error::internal("the scoring task ended without an answer")))
    }
}

impl<W: Workers> Drop for Admitted<'_, W> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut waiting = self.shared.waiting();
        let abandoned = waiting.queue.remove(ticket);
        let nobody_waits = waiting.queue.is_empty();
        drop(waiting);
        // Its rows are freed outside of the lock.
        if abandoned.is_some() && nobody_waits {
            self.shared.expiry.notify_one();
        }
    }
}
