//! What R prints, line by line into the log with the model's name and the worker's
//! number: each worker has pipes of its own. They are always read, so that a
//! talkative model can't block on a full one; what is too much is counted and
//! dropped.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::PoolSettings;
use crate::lifecycle::Background;
use crate::telemetry::metrics;

/// Most bytes of a line that are kept.
const MAX_LINE: usize = 8 * 1024;

/// The time that a number of lines is allowed in.
const WINDOW: Duration = Duration::from_secs(1);

/// Where a line came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Standard output: `print`, `cat`.
    Standard,
    /// Standard error: messages, warnings at load, errors.
    Error,
}

/// Whose output it is, and how much of it is wanted.
#[derive(Debug, Clone)]
pub(super) struct Source {
    model: Arc<str>,
    version: u32,
    /// Nothing for the process that loads the model and forks.
    worker: Option<u64>,
    /// Lines of each stream that are logged in a second.
    lines_per_second: usize,
    /// What is left of them, for a zygote and its workers together.
    allowances: Arc<[Mutex<Allowance>; 2]>,
    background: Background,
}

/// Where the output of one worker goes.
pub(super) struct Pipes {
    /// Becomes the worker's standard output.
    pub(super) output: PipeWriter,
    /// Becomes its standard error.
    pub(super) error: PipeWriter,
    readers: [PipeReader; 2],
}

impl Pipes {
    pub(super) fn new() -> io::Result<Self> {
        let ((standard, output), (errors, error)) = (io::pipe()?, io::pipe()?);
        Ok(Self { output, error, readers: [standard, errors] })
    }

    /// Reads what comes, now that the worker has its ends.
    pub(super) fn collect(self, source: &Source) -> io::Result<()> {
        for (stream, reader) in [Stream::Standard, Stream::Error].into_iter().zip(self.readers) {
            collect(source.clone(), stream, Receiver::from_owned_fd(OwnedFd::from(reader))?);
        }
        Ok(())
    }
}

/// Reads a pipe to its end in a task of its own.
pub(super) fn collect(source: Source, stream: Stream, pipe: impl AsyncRead + Send + Unpin + 'static) {
    let background = source.background.clone();
    background.spawn("reader of what R prints", async move {
        let mut reader = BufReader::new(pipe);
        let mut line = Line::default();
        loop {
            // While lines are held back, the end of the second says how many.
            let rest = source.allowance(stream).remaining(Instant::now());
            let read = match rest {
                None => line.read(&mut reader).await,
                Some(rest) => match timeout(rest, line.read(&mut reader)).await {
                    Ok(read) => read,
                    Err(_) => {
                        source.renew(stream);
                        continue;
                    }
                },
            };
            if !matches!(read, Ok(true)) {
                break;
            }
            source.renew(stream);
            if let Some(text) = line.take() {
                let allowed = source.allowance(stream).take();
                match allowed {
                    true => source.log(stream, &text),
                    false => metrics::output_suppressed((&source.model, source.version)),
                }
            }
        }
        let suppressed = std::mem::take(&mut source.allowance(stream).suppressed);
        source.say_suppressed(suppressed);
    });
}

impl Source {
    /// Of a zygote.
    pub(super) fn new(settings: &PoolSettings) -> Self {
        let lines_per_second = settings.upkeep.output_lines_per_second;
        let allowance = || Mutex::new(Allowance::new(lines_per_second, Instant::now()));
        Self {
            model: settings.model.clone(),
            version: settings.version,
            worker: None,
            lines_per_second,
            allowances: Arc::new([allowance(), allowance()]),
            background: settings.background.clone(),
        }
    }

    /// Of one of its workers.
    pub(super) fn of_worker(&self, id: u64) -> Self {
        Self { worker: Some(id), ..self.clone() }
    }

    fn allowance(&self, stream: Stream) -> MutexGuard<'_, Allowance> {
        let [standard, error] = &*self.allowances;
        let allowance = match stream {
            Stream::Standard => standard,
            Stream::Error => error,
        };
        allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another second when it is time.
    fn renew(&self, stream: Stream) {
        let suppressed = self.allowance(stream).renew(Instant::now());
        self.say_suppressed(suppressed);
    }

    fn log(&self, stream: Stream, text: &str) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "rscore::model",
                    { model.name = &*self.model, model.version = self.version, worker.id = self.worker },
                    "R: {text}"
                )
            };
        }
        match stream {
            Stream::Standard => line!(info),
            Stream::Error => line!(warn),
        }
    }

    fn say_suppressed(&self, lines: u64) {
        if lines > 0 {
            tracing::warn!(
                model.name = %self.model,
                model.version = self.version,
                "{lines} lines that R printed were left out; workers.output_lines_per_second is {}",
                self.lines_per_second
            );
        }
    }
}

/// A line as it comes in, of which no more is kept than is logged.
#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    /// Bytes beyond what is kept.
    cut: u64,
}

impl Line {
    /// Reads to the end of a line; whether there was one. When it is dropped half-way
    /// it goes on where it was.
    async fn read(&mut self, reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
        loop {
            let bytes = reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(!self.kept.is_empty());
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = part.len().min(MAX_LINE.saturating_sub(self.kept.len()));
            self.kept.extend_from_slice(&part[..room]);
            self.cut += (part.len() - room) as u64;
            let length = part.len() + usize::from(end.is_some());
            reader.consume(length);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// The text of the line, which is then empty; none when there is nothing to see.
    fn take(&mut self) -> Option<String> {
        let kept = std::mem::take(&mut self.kept);
        let cut = std::mem::take(&mut self.cut);
        let text = String::from_utf8_lossy(&kept);
        let text = text.trim_end();
        match cut {
            0 if text.is_empty() => None,
            0 => Some(text.to_owned()),
            cut => Some(format!("{text}... ({cut} more bytes)")),
        }
    }
}

/// How many more lines are logged in the present second.
#[derive(Debug)]
struct Allowance {
    per_window: usize,
    left: usize,
    suppressed: u64,
    began: Instant,
}

impl Allowance {
    fn new(per_window: usize, now: Instant) -> Self {
        Self { per_window, left: per_window, suppressed: 0, began: now }
    }

    /// Begins another second when it is time; gives how many lines were suppressed in
    /// the one before.
    fn renew(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.began) < WINDOW {
            return 0;
        }
        self.began = now;
        self.left = self.per_window;
        std::mem::take(&mut self.suppressed)
    }

    /// Whether one more line may be logged.
    fn take(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.suppressed += 1;
                false
            }
        }
    }

    /// Time to the end of the second, when there is something to say then.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        (self.suppressed > 0).then(|| (self.began + WINDOW).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    async fn lines(text: &[u8]) -> Vec<String> {
        let mut reader = BufReader::with_capacity(100, text);
        let mut line = Line::default();
        let mut lines = Vec::new();
        while line.read(&mut reader).await.unwrap() {
            lines.extend(line.take());
        }
        lines
    }

    #[tokio::test]
    async fn lines_are_cut_and_empty_ones_left_out() {
        assert_eq!(lines(b"one\n\n  \ntwo \r\nlast").await, ["one", "two", "last"]);
        let long = [vec![b'x'; 3 * MAX_LINE], b"\nnext\n".to_vec()].concat();
        let lines = lines(&long).await;
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("xxx") && lines[0].ends_with("x... (16384 more bytes)"), "{}", lines[0].len());
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn so_many_lines_are_logged_in_a_second_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut allowance = Allowance::new(2, now);
        assert_eq!((0..5).filter(|_| allowance.take()).count(), 2);
        assert_eq!(allowance.renew(now + WINDOW / 2), 0);
        assert_eq!(allowance.remaining(now + WINDOW / 2), Some(WINDOW / 2));
        assert_eq!(allowance.renew(now + WINDOW), 3);
        assert!(allowance.take());
        assert_eq!(allowance.remaining(now), None);
    }
}
