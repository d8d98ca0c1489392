//! Requests that wait for a worker, in the order in which they will be served:
//! earlier deadlines first, and first come first served among equals. It is
//! bounded in entries, rows and bytes, and what exceeds a bound is refused
//! before it waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use tokio::sync::oneshot;

use super::Scored;
use super::batching;
use super::drain::{Ahead, Batches, Drain};
use crate::error::{Error, Kind, Overload, Result};
use crate::frame::schema::Inputs;
use crate::telemetry::context::RequestContext;

/// Bounds of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most entries.
    pub max_entries: usize,
    /// Most rows.
    pub max_rows: usize,
    /// Most bytes of columns.
    pub max_bytes: usize,
    /// Longest wait of an entry; zero means that there is no bound.
    pub max_time: Duration,
}

/// Part of the longest wait that an entry may be expected to wait for when it comes.
/// What is expected is a mean, and leaves out what is left of the calls that run.
const EXPECTED_PART: f64 = 0.8;

/// Bounds of what a caller is told to wait before it tries again.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// The place of one entry: its order, and its number among all that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    deadline: Instant,
    arrival: u64,
}

/// A request that waits, or a part of one.
#[derive(Debug)]
pub struct Entry {
    /// One frame per input.
    pub inputs: Inputs<RecordBatch>,
    /// Rows that the answer must have.
    pub rows: usize,
    /// When nobody wants the answer any more.
    pub deadline: Instant,
    /// When it came.
    pub arrived: Instant,
    /// For the log.
    pub context: RequestContext,
    /// Where the answer goes; closed when the caller went away.
    pub answer: oneshot::Sender<Result<Scored>>,
}

impl Entry {
    /// Sends the answer; the caller may be gone.
    pub fn answer(self, result: Result<Scored>) {
        let _ = self.answer.send(result);
    }

    /// Arrow schema of the only input; entries with another can't be joined.
    fn schema(&self) -> Option<&SchemaRef> {
        self.inputs.as_single().map(RecordBatch::schema_ref)
    }
}

/// Bytes that rows take. Those of a slice are counted, and not all that its buffers
/// have for others: the parts of a request share theirs.
pub fn bytes_of(inputs: &Inputs<RecordBatch>) -> usize {
    let columns = inputs.iter().flat_map(|(_, batch)| batch.columns());
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().ok();
    columns.map(|column| bytes(column).unwrap_or_else(|| column.get_array_memory_size())).sum()
}

/// The queue of one model version.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    entries: BTreeMap<Ticket, (Entry, usize)>,
    arrivals: u64,
    rows: usize,
    bytes: usize,
    drain: Drain,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self { limits, entries: BTreeMap::new(), arrivals: 0, rows: 0, bytes: 0, drain: Drain::default() }
    }

    /// Adds an entry that has just come; `next` is what is expected of the batches to
    /// come.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when that would exceed a bound. An entry that is over a
    /// bound by itself is taken when nothing else waits.
    pub fn push(&mut self, entry: Entry, next: &Batches) -> Result<Ticket> {
        let bytes = bytes_of(&entry.inputs);
        if !self.entries.is_empty() {
            self.check(entry.rows, bytes, next, entry.arrived)?;
        }
        self.drain.waits(entry.arrived);
        self.rows += entry.rows;
        self.bytes += bytes;
        self.arrivals += 1;
        let ticket = Ticket { deadline: entry.deadline, arrival: self.arrivals };
        self.entries.insert(ticket, (entry, bytes));
        Ok(ticket)
    }

    fn check(&self, rows: usize, bytes: usize, next: &Batches, now: Instant) -> Result<()> {
        let limit = self.limits.max_time;
        let expected_limit = limit.mul_f64(EXPECTED_PART);
        let wait = self.drain.wait(Ahead { entries: self.entries.len(), rows: self.rows }, next, now);
        let (what, pause, detail) = if !self.has_room(1, rows, bytes) {
            let detail =
                format!("the model's queue is full: {} requests with {} rows wait", self.entries.len(), self.rows);
            (Overload::Queue, wait, detail)
        } else if !limit.is_zero() && wait > expected_limit {
            let detail = format!(
                "the request would have to wait for about {:.1} s; over {:.1} s the wait may become longer than the limit \
                 of {:.1} s; try again later",
                wait.as_secs_f64(),
                expected_limit.as_secs_f64(),
                limit.as_secs_f64()
            );
            (Overload::QueueTime, wait - expected_limit, detail)
        } else {
            return Ok(());
        };
        Err(overloaded(what, pause, detail))
    }

    /// Whether so much more is within the bounds.
    pub fn has_room(&self, entries: usize, rows: usize, bytes: usize) -> bool {
        self.entries.len().saturating_add(entries) <= self.limits.max_entries
            && self.rows.saturating_add(rows) <= self.limits.max_rows
            && self.bytes.saturating_add(bytes) <= self.limits.max_bytes
    }

    /// Whether an entry is served before all others.
    pub fn is_first(&self, ticket: Ticket) -> bool {
        self.entries.first_key_value().is_some_and(|(first, _)| *first == ticket)
    }

    /// Takes out one entry, unless it is not there any more.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let (entry, bytes) = self.entries.remove(&ticket)?;
        self.rows -= entry.rows;
        self.bytes -= bytes;
        if self.entries.is_empty() {
            self.drain.rests();
        }
        Some(entry)
    }

    /// Takes the next batch: as many entries, in order, as fit under `cap` rows and
    /// share a schema; just one when entries must not be joined.
    pub fn take_batch(&mut self, cap: usize, joined: bool, now: Instant) -> Vec<Entry> {
        let schema = self.entries.values().next().and_then(|(entry, _)| entry.schema().cloned());
        let rows_in_order = self
            .entries
            .values()
            .take_while(|(entry, _)| joined && schema.is_some() && entry.schema() == schema.as_ref())
            .map(|(entry, _)| entry.rows);
        let count = batching::take(cap, rows_in_order).max(1);
        self.drain.left(self.entries.values().take(count).map(|(entry, _)| entry.rows).sum(), now);
        (0..count).filter_map(|_| self.pop()).collect()
    }

    /// Takes out those whose time is up, with what they are told: in the order in which
    /// they would be served, up to the first that may wait on.
    pub fn take_expired(&mut self, now: Instant) -> Vec<(Entry, Error)> {
        let mut expired = Vec::new();
        while let Some((_, (first, _))) = self.entries.first_key_value() {
            let error = if first.deadline <= now {
                Error::new(Kind::DeadlineExceeded, "the request waited for a free worker until its time was up")
            } else if self.longest_wait(first).is_some_and(|until| until <= now) {
                let limit = self.limits.max_time;
                let detail = format!("the request has waited for {:.1} s, which is the limit", limit.as_secs_f64());
                overloaded(Overload::QueueTime, limit, detail)
            } else {
                break;
            };
            expired.extend(self.pop().map(|entry| (entry, error)));
        }
        expired
    }

    /// When the time of the one who is served first will be up.
    pub fn next_expiry(&self) -> Option<Instant> {
        let (_, (first, _)) = self.entries.first_key_value()?;
        Some(self.longest_wait(first).map_or(first.deadline, |until| until.min(first.deadline)))
    }

    fn longest_wait(&self, entry: &Entry) -> Option<Instant> {
        let limit = self.limits.max_time;
        entry.arrived.checked_add(limit).filter(|_| !limit.is_zero())
    }

    /// Takes everything, for a stop.
    pub fn take_all(&mut self) -> Vec<Entry> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// The earliest deadline of those who wait.
    pub fn earliest_deadline(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(ticket, _)| ticket.deadline)
    }

    /// How long the longest waits already.
    pub fn age(&self, now: Instant) -> Duration {
        self.entries.values().map(|(entry, _)| now.saturating_duration_since(entry.arrived)).max().unwrap_or_default()
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn pop(&mut self) -> Option<Entry> {
        let ticket = *self.entries.first_key_value()?.0;
        self.remove(ticket)
    }
}

fn overloaded(what: Overload, pause: Duration, detail: String) -> Error {
    Error::new(Kind::Overloaded { what, retry_after: pause.clamp(LEAST_PAUSE, MOST_PAUSE) }, detail)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    const LIMITS: QueueLimits =
        QueueLimits { max_entries: 4, max_rows: 100, max_bytes: 1 << 20, max_time: Duration::ZERO };

    type Answered = oneshot::Receiver<Result<Scored>>;

    fn entry(column: ArrayRef, deadline: Instant, id: &str) -> (Entry, Answered) {
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let (answer, answered) = oneshot::channel();
        let entry = Entry {
            rows: batch.num_rows(),
            inputs: Inputs::single(batch),
            deadline,
            arrived: Instant::now(),
            context: RequestContext::untraced(id),
            answer,
        };
        (entry, answered)
    }

    fn numbers(rows: usize, deadline: Instant, id: &str) -> (Entry, Answered) {
        entry(Arc::new(Float64Array::from(vec![1.0; rows])), deadline, id)
    }

    fn push(queue: &mut Queue, entry: Entry) -> Result<Ticket> {
        queue.push(entry, &Batches::default())
    }

    fn ids(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| &*entry.context.id).collect()
    }

    #[test]
    fn earlier_deadlines_first_then_first_come() {
        let mut queue = Queue::new(LIMITS);
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let mut answers = Vec::new();
        for (id, deadline) in [("a", later), ("b", later), ("hurried", now + Duration::from_secs(1)), ("c", later)] {
            let (entry, answer) = numbers(1, deadline, id);
            push(&mut queue, entry).unwrap();
            answers.push(answer);
        }
        assert_eq!(ids(&queue.take_batch(3, true, Instant::now())), ["hurried", "a", "b"]);
        assert_eq!(queue.rows(), 1);
    }

    #[test]
    fn bounds_are_kept() {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut queue = Queue::new(LIMITS);
        let (large, _answer) = numbers(500, deadline, "larger than the queue");
        push(&mut queue, large).unwrap();
        let (second, _answer) = numbers(1, deadline, "second");
        let error = push(&mut queue, second).unwrap_err();
        assert!(matches!(error.kind(), Kind::Overloaded { .. }));

        let mut queue = Queue::new(LIMITS);
        let push = |queue: &mut Queue| push(queue, numbers(1, deadline, "x").0);
        let tickets: Vec<Ticket> = (0..4).map(|_| push(&mut queue).unwrap()).collect();
        push(&mut queue).unwrap_err();
        assert!(queue.remove(tickets[1]).is_some());
        assert!(queue.remove(tickets[1]).is_none(), "it is gone");
        let last = push(&mut queue).unwrap();
        push(&mut queue).unwrap_err();
        for ticket in [tickets[0], tickets[2], tickets[3], last] {
            assert!(queue.is_first(ticket));
            queue.remove(ticket).unwrap();
        }
        assert_eq!((queue.rows(), queue.bytes(), queue.is_empty()), (0, 0, true));
    }

    #[test]
    fn parts_of_one_request_count_once() {
        let deadline = Instant::now() + Duration::from_secs(10);
        let texts = StringArray::from_iter_values((0..1000).map(|row| format!("text {row}")));
        let columns = [
            ("number", Arc::new(Float64Array::from(vec![1.0; 1000])) as ArrayRef),
            ("text", Arc::new(texts) as ArrayRef),
        ];
        let whole = RecordBatch::try_from_iter(columns).unwrap();
        let bytes = bytes_of(&Inputs::single(whole.clone()));
        assert!((1000 * (8 + 4 + 6)..1000 * (8 + 4 + 9)).contains(&bytes), "{bytes}");
        let mut queue = Queue::new(QueueLimits { max_rows: 1000, max_bytes: bytes + 100, ..LIMITS });
        for part in 0..4 {
            let (mut entry, _answer) = numbers(1, deadline, "part");
            (entry.inputs, entry.rows) = (Inputs::single(whole.slice(250 * part, 250)), 250);
            push(&mut queue, entry).unwrap();
        }
        assert!((bytes..bytes + 100).contains(&queue.bytes()), "{} of {bytes}", queue.bytes());
    }

    #[test]
    fn the_expired_are_taken_out() {
        let mut queue = Queue::new(LIMITS);
        let now = Instant::now();
        let (old, _old) = numbers(1, now, "old");
        let (young, _young) = numbers(1, now + Duration::from_secs(1), "young");
        push(&mut queue, old).unwrap();
        push(&mut queue, young).unwrap();
        let (expired, errors): (Vec<Entry>, Vec<Error>) = queue.take_expired(now).into_iter().unzip();
        assert_eq!(ids(&expired), ["old"]);
        assert_eq!(*errors[0].kind(), Kind::DeadlineExceeded);
        assert_eq!(queue.earliest_deadline(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn only_what_has_one_schema_is_joined() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut queue = Queue::new(LIMITS);
        let (number, _number) = numbers(1, deadline, "number");
        let (text, _text) = entry(Arc::new(StringArray::from(vec!["a"])), deadline, "text");
        let (alone, _alone) = numbers(1, deadline, "alone");
        for entry in [number, text, alone] {
            push(&mut queue, entry).unwrap();
        }
        assert_eq!(ids(&queue.take_batch(10, true, Instant::now())), ["number"]);
        assert_eq!(ids(&queue.take_batch(10, false, Instant::now())), ["text"]);
    }

    #[test]
    fn the_expected_wait_is_bounded_and_the_rest_of_it_advised() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut queue = Queue::new(QueueLimits { max_entries: 100, max_time: Duration::from_millis(2500), ..LIMITS });
        let send = |queue: &mut Queue, now: Instant| {
            let (mut entry, _answer) = numbers(1, start + Duration::from_secs(60), "x");
            entry.arrived = now;
            push(queue, entry)
        };
        // One leaves each second.
        send(&mut queue, at(0)).unwrap();
        send(&mut queue, at(0)).unwrap();
        for second in 1..=20 {
            send(&mut queue, at(1000 * second)).unwrap();
            assert_eq!(queue.take_batch(1, true, at(1000 * second)).len(), 1);
        }
        send(&mut queue, at(20_000)).unwrap();
        let error = send(&mut queue, at(26_500)).unwrap_err();
        let Kind::Overloaded { what, retry_after } = error.kind() else { panic!("{error:?}") };
        assert_eq!(*what, Overload::QueueTime);
        // Three that wait, and the one that should have left 5.5 s ago; 2 s may be expected.
        assert!(retry_after.abs_diff(Duration::from_millis(6500)) < Duration::from_millis(10), "{retry_after:?}");
        assert!(
            error.detail().contains("about 8.5 s; over 2.0 s the wait may become longer than the limit of 2.5 s"),
            "{error}"
        );
        queue.take_all();
        send(&mut queue, at(27_000)).unwrap();
    }

    #[test]
    fn who_has_waited_for_the_limit_is_told_so() {
        let mut queue = Queue::new(QueueLimits { max_time: Duration::from_secs(2), ..LIMITS });
        let now = Instant::now();
        let seconds = Duration::from_secs;
        for (id, deadline, arrived) in [("old", 60, 0), ("young", 61, 1), ("hurried", 3, 2)] {
            let (mut entry, _answer) = numbers(1, now + seconds(deadline), id);
            entry.arrived = now + seconds(arrived);
            push(&mut queue, entry).unwrap();
        }
        assert_eq!(queue.next_expiry(), Some(now + seconds(3)), "a deadline that comes before the limit");
        assert!(queue.take_expired(now + seconds(2)).is_empty(), "the old one is behind one that may wait");
        let (expired, errors): (Vec<Entry>, Vec<Error>) = queue.take_expired(now + seconds(3)).into_iter().unzip();
        assert_eq!(ids(&expired), ["hurried", "old", "young"]);
        assert_eq!(*errors[0].kind(), Kind::DeadlineExceeded);
        for error in &errors[1..] {
            assert!(matches!(error.kind(), Kind::Overloaded { what: Overload::QueueTime, .. }), "{error}");
        }
        assert_eq!(queue.next_expiry(), None);
    }
}
