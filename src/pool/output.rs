//! What R prints, line by line into the log with the model's name. The pipes
//! are always read, so that a talkative model can't block on a full one.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Longest line that is kept; the rest of a longer one becomes further lines.
const MAX_LINE: u64 = 8 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Standard output: `print`, `cat`.
    Standard,
    /// Standard error: messages, warnings at load, errors.
    Error,
}

/// Reads a pipe to its end in a task of its own.
pub(super) fn collect(model: Arc<str>, version: u32, stream: Stream, pipe: impl AsyncRead + Send + Unpin + 'static) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if text.is_empty() {
                continue;
            }
            match stream {
                Stream::Standard => {
                    tracing::info!(target: "rscore::model", { model.name = %model, model.version = version }, "R: {text}");
                }
                Stream::Error => {
                    tracing::warn!(target: "rscore::model", { model.name = %model, model.version = version }, "R: {text}");
                }
            }
        }
    });
}
