//! Counts open connections, so that a stop is over as soon as the last one is
//! closed, and not at the next look of a timer.

use std::sync::Arc;

use tokio::sync::watch;

/// The open connections of a server. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    open: Arc<watch::Sender<usize>>,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    open: Arc<watch::Sender<usize>>,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(watch::Sender::new(0)) }
    }

    /// Counts a connection.
    pub(crate) fn open(&self) -> OpenConnection {
        self.open.send_modify(|open| *open += 1);
        OpenConnection { open: Arc::clone(&self.open) }
    }

    /// Waits until no connection is open.
    pub(crate) async fn all_closed(&self) {
        // The sender is alive in `self`, so the channel can't be closed.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn all_are_closed_when_the_last_one_is() {
        let connections = Connections::new();
        connections.all_closed().now_or_never().expect("none was opened");
        let first = connections.open();
        let second = connections.open();
        drop(first);
        assert!(connections.all_closed().now_or_never().is_none());
        drop(second);
        connections.all_closed().now_or_never().expect("both are closed");
    }
}
