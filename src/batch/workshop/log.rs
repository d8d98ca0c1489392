//! The log of one partition: what R printed and warned of, and what became of
//! rows. R prints into a file, which can be read while it does.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// How many quarantined rows a log names.
pub(super) const LISTED_ROWS: usize = 20;

/// How many times its bound the file of a talkative model may grow before it is begun
/// anew.
const KEPT_LOGS: u64 = 16;

/// A log that grows.
pub(super) struct PartitionLog {
    path: PathBuf,
    head: String,
    said: Vec<String>,
    max_bytes: u64,
    seen: u64,
}

impl PartitionLog {
    /// A log of an attempt, which has its own file.
    pub(super) fn begin(folder: &Path, attempt: &str, partition: &str, max_bytes: u64) -> Self {
        let head = format!("partition {partition}, attempt {attempt}\n");
        Self { path: folder.join(format!("{attempt}.txt")), head, said: Vec::new(), max_bytes, seen: 0 }
    }

    /// The file that R prints into.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of our own.
    pub(super) fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    /// The log so far, if R has printed something since the last time.
    pub(super) async fn news(&mut self) -> Option<Bytes> {
        let length = tokio::fs::metadata(&self.path).await.ok()?.len();
        if length == self.seen {
            return None;
        }
        self.seen = length;
        let mut text = self.head.clone().into_bytes();
        text.extend(self.printed().await);
        if length > KEPT_LOGS * self.max_bytes {
            // R appends, so that it goes on at the new beginning.
            if let Ok(file) = tokio::fs::OpenOptions::new().write(true).open(&self.path).await {
                _ = file.set_len(0).await;
            }
        }
        Some(Bytes::from(text))
    }

    /// What R printed, the last part of it where it is long.
    async fn printed(&self) -> Vec<u8> {
        let read = async {
            let mut file = tokio::fs::File::open(&self.path).await?;
            let length = file.metadata().await?.len();
            let mut text = Vec::new();
            if length > self.max_bytes {
                text.extend_from_slice(format!("... {} bytes before\n", length - self.max_bytes).as_bytes());
                file.seek(std::io::SeekFrom::Start(length - self.max_bytes)).await?;
            }
            file.take(self.max_bytes).read_to_end(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        // There is no file when R was never called.
        read.await.unwrap_or_default()
    }

    /// The whole log; empty when there is nothing to say.
    pub(super) async fn finish(self, warnings: &[String]) -> Bytes {
        let printed = self.printed().await;
        // It may never have been made.
        _ = tokio::fs::remove_file(&self.path).await;
        if printed.is_empty() && warnings.is_empty() && self.said.is_empty() {
            return Bytes::new();
        }
        let mut text = self.head.into_bytes();
        text.extend(printed);
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        for warning in warnings {
            text.extend_from_slice(format!("warning: {warning}\n").as_bytes());
        }
        for line in &self.said {
            text.extend_from_slice(format!("{line}\n").as_bytes());
        }
        Bytes::from(text)
    }
}
