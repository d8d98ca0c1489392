//! What is known of each open connection of a caller: how many requests are
//! under way on it, and what the caller owes: the rest of a head, or taking its
//! answer. Also counts them, so that a stop is over as soon as the last one is
//! closed, and not at the next look of a timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::Protocol;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::telemetry::metrics;

/// Requests of one connection that may be under way at once. HTTP/2 callers are
/// promised at least so many by convention (RFC 9113, section 6.5.2).
const MAX_REQUESTS: usize = 100;

/// Bytes that an HTTP/2 connection may send without a request on it: one with
/// large headers, and thousands of frames that ask for nothing.
const MAX_UNASKED: usize = 256 * 1024;

/// The open connections of a server. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    open: Arc<watch::Sender<usize>>,
}

/// How long a caller may take for what it owes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From the first byte of a head to its last.
    pub(crate) head: Duration,
    /// For taking a piece of an answer.
    pub(crate) write: Duration,
}

/// One open connection, until its last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    times: Times,
    protocol: Protocol,
    requests: RefCell<Vec<Underway>>,
    next: Cell<u64>,
    /// When the first byte came after the last request.
    head_since: Cell<Option<Instant>>,
    /// Bytes that came since then.
    unasked: Cell<usize>,
    _open: OpenConnection,
}

#[derive(Debug, Clone, Copy)]
struct Underway {
    number: u64,
    /// Since when the connection has had a piece of the answer that it did not
    /// ask the next for.
    sending_since: Option<Instant>,
}

/// A connection that was accepted, and counts.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    open: Arc<watch::Sender<usize>>,
}

/// A request on its connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct RequestUnderway {
    connection: Connection,
    number: u64,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(watch::Sender::new(0)) }
    }

    /// Counts a connection.
    pub(crate) fn open(&self) -> OpenConnection {
        self.open.send_modify(|open| *open += 1);
        metrics::connections(1.0);
        OpenConnection { open: Arc::clone(&self.open) }
    }

    /// Waits until no connection is open.
    pub(crate) async fn all_closed(&self) {
        // The sender is alive in `self`, so the channel can't be closed.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until no connection has been open for so long.
    pub(crate) async fn stay_closed(&self, quiet: Duration) {
        let mut open = self.open.subscribe();
        loop {
            self.all_closed().await;
            if timeout(quiet, open.wait_for(|open| *open > 0)).await.is_err() {
                return;
            }
        }
    }
}

impl OpenConnection {
    /// From now on HTTP is spoken.
    pub(crate) fn speaks(self, protocol: Protocol, times: Times) -> Connection {
        let inner = Inner {
            times,
            protocol,
            requests: RefCell::default(),
            next: Cell::new(0),
            head_since: Cell::new(None),
            unasked: Cell::new(0),
            _open: self,
        };
        Connection { inner: Rc::new(inner) }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
        metrics::connections(-1.0);
    }
}

impl Connection {
    /// A request begins. Nothing when the connection has too many.
    pub(crate) fn begin_request(&self) -> Option<RequestUnderway> {
        let mut requests = self.inner.requests.borrow_mut();
        if requests.len() >= MAX_REQUESTS {
            return None;
        }
        let number = self.inner.next.replace(self.inner.next.get() + 1);
        requests.push(Underway { number, sending_since: None });
        self.expect_head();
        Some(RequestUnderway { connection: self.clone(), number })
    }

    /// Notes that bytes came; whether there are too many without a request.
    pub(super) fn received(&self, bytes: usize) -> bool {
        let inner = &self.inner;
        if !inner.requests.borrow().is_empty() {
            return false;
        }
        match inner.protocol {
            // A head is bounded by its parser, so only its time counts.
            Protocol::Http1 => {
                if inner.head_since.get().is_none() {
                    inner.head_since.set(Some(Instant::now()));
                }
                false
            }
            // Frames may come at any time, so only their number counts.
            _ => {
                inner.unasked.set(inner.unasked.get() + bytes);
                inner.unasked.get() > MAX_UNASKED
            }
        }
    }

    /// How long the caller may take for a piece of an answer.
    pub(super) fn write_timeout(&self) -> Duration {
        self.inner.times.write
    }

    /// When the caller must have done what it owes, and what that is.
    pub(super) fn due(&self) -> Option<(Instant, &'static str)> {
        let head = self.inner.head_since.get().map(|since| (since + self.inner.times.head, "head"));
        let requests = self.inner.requests.borrow();
        let sending = requests.iter().filter_map(|request| request.sending_since).min();
        let sending = sending.map(|since| (since + self.inner.times.write, "answer"));
        [head, sending].into_iter().flatten().min()
    }

    fn expect_head(&self) {
        self.inner.head_since.set(None);
        self.inner.unasked.set(0);
    }
}

impl RequestUnderway {
    /// The connection was given a piece of the answer, or waits for one.
    pub(super) fn sending(&self, given: bool) {
        let mut requests = self.connection.inner.requests.borrow_mut();
        if let Some(request) = requests.iter_mut().find(|request| request.number == self.number) {
            request.sending_since = given.then(Instant::now);
        }
    }
}

impl Drop for RequestUnderway {
    fn drop(&mut self) {
        self.connection.inner.requests.borrow_mut().retain(|request| request.number != self.number);
        self.connection.expect_head();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const TIMES: Times = Times { head: Duration::from_secs(10), write: Duration::from_secs(30) };

    #[tokio::test]
    async fn all_are_closed_when_the_last_one_is() {
        let connections = Connections::new();
        connections.all_closed().now_or_never().expect("none was opened");
        let first = connections.open();
        let second = connections.open().speaks(Protocol::Http1, TIMES);
        drop(first);
        assert!(connections.all_closed().now_or_never().is_none());
        let request = second.begin_request();
        drop(second);
        assert!(connections.all_closed().now_or_never().is_none(), "a request keeps it");
        drop(request);
        connections.all_closed().now_or_never().expect("both are closed");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_at_the_last_moment_is_waited_for() {
        let connections = Connections::new();
        let quiet = Duration::from_millis(50);
        let began = tokio::time::Instant::now();
        let late = async {
            tokio::time::sleep(quiet / 2).await;
            let open = connections.open();
            tokio::time::sleep(quiet * 4).await;
            drop(open);
        };
        tokio::join!(connections.stay_closed(quiet), late);
        assert_eq!(began.elapsed(), quiet / 2 + quiet * 4 + quiet);
    }

    #[test]
    fn a_head_is_due_from_its_first_byte_on() {
        let connection = Connections::new().open().speaks(Protocol::Http1, TIMES);
        assert!(connection.due().is_none(), "nothing was begun");
        assert!(!connection.received(1) && connection.due().is_some_and(|(_, what)| what == "head"));
        let request = connection.begin_request();
        assert!(!connection.received(1_000_000) && connection.due().is_none(), "a body has its own limit");
        drop(request);
        assert!(connection.due().is_none(), "idle again");
    }

    #[test]
    fn an_answer_is_due_while_a_piece_of_it_is_not_taken() {
        let connection = Connections::new().open().speaks(Protocol::Http2, TIMES);
        let [first, second] = [(); 2].map(|()| connection.begin_request().expect("few requests"));
        assert!(connection.due().is_none());
        first.sending(true);
        let due = connection.due().expect("a piece is under way");
        second.sending(true);
        assert_eq!(connection.due(), Some(due), "the older counts");
        first.sending(false);
        assert!(connection.due().is_some_and(|later| later.0 >= due.0 && later.1 == "answer"));
        drop(second);
        assert!(connection.due().is_none(), "the first waits for the model, not for its caller");
    }

    #[test]
    fn frames_and_requests_of_a_connection_are_bounded() {
        let connection = Connections::new().open().speaks(Protocol::Http2, TIMES);
        assert!(!connection.received(MAX_UNASKED) && connection.due().is_none());
        assert!(connection.received(1));
        let requests: Vec<_> = (0..MAX_REQUESTS).map(|_| connection.begin_request().expect("few requests")).collect();
        assert!(connection.begin_request().is_none());
        drop(requests);
        assert!(connection.begin_request().is_some() && !connection.received(MAX_UNASKED));
    }
}
