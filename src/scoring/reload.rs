//! Asking for a version to be loaded again. Doors hold the [`Reloads`] handle;
//! whoever composes the server holds the other end and does the work.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Kind, Result};

/// Requests that may wait to be taken up.
const MAX_WAITING: usize = 64;

/// How a reload of one version ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Another generation was loaded, checked, and serves now.
    Loaded {
        /// Its number.
        generation: u64,
        /// SHA-256 of its bundle, hexadecimal.
        digest: String,
    },
    /// The folder has what is served already.
    Unchanged,
    /// The new generation is not fit to serve; what served before still does.
    Failed {
        /// Why.
        reason: String,
    },
    /// The folder is gone, and the version with it.
    Removed,
}

/// One version that was asked for, and what will come of it.
#[derive(Debug)]
pub struct Asked {
    /// The version.
    pub version: u32,
    /// How its reload ends.
    pub outcome: oneshot::Receiver<Outcome>,
}

/// What can be asked for.
#[derive(Debug)]
pub enum Command {
    /// Load a version again, whether or not it changed; all versions of the model
    /// when none is named.
    Reload {
        /// Model name.
        model: String,
        /// Version number.
        version: Option<u32>,
        /// Gets the versions that will be loaded.
        answer: oneshot::Sender<Result<Vec<Asked>>>,
    },
    /// Look at the repository now, and not at the end of the interval.
    Look,
    /// Look now, and try again what could not be loaded.
    Reread,
}

/// What who asks is told when the server ends.
pub fn stopping() -> Error {
    Error::new(Kind::Unavailable, "the server is stopping and loads nothing any more")
}

/// Asks for reloads. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Reloads {
    commands: mpsc::Sender<Command>,
}

impl Reloads {
    /// The handle, and the end that takes up what is asked for.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(MAX_WAITING);
        (Self { commands }, inbox)
    }

    /// Has versions of a model loaded again from the repository.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when neither the repository nor the server has it,
    /// [`Kind::Unavailable`] when the repository can't be read or the server stops.
    pub async fn reload(&self, model: &str, version: Option<u32>) -> Result<Vec<Asked>> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Reload { model: model.to_owned(), version, answer };
        self.commands.send(command).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Has the repository looked at now. For whoever puts versions into it.
    pub fn look(&self) {
        // When so much waits already, a look is about to happen.
        let _ = self.commands.try_send(Command::Look);
    }

    /// Has the repository looked at now, and what could not be loaded tried again.
    pub fn reread(&self) {
        let _ = self.commands.try_send(Command::Reread);
    }
}
