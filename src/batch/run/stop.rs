//! How a run is asked to stop, by a signal or by `rscore batch cancel`.

use tokio::sync::watch;

/// What was asked for, from the mildest to the sternest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Nothing.
    #[default]
    No,
    /// Take no more partitions; those in R may end in time.
    Drain,
    /// The run was cancelled.
    Cancel,
    /// Leave everything as it is.
    Now,
}

/// Asks for a stop.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Stop>);

/// Sees that a stop was asked for.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<Stop>);

/// A pair of both.
pub fn stop() -> (Stopper, Stopping) {
    let (sender, receiver) = watch::channel(Stop::No);
    (Stopper(sender), Stopping(receiver))
}

impl Stopper {
    /// Asks for a stop; a milder one than before changes nothing.
    pub fn ask(&self, stop: Stop) {
        self.0.send_if_modified(|current| {
            let sterner = stop > *current;
            if sterner {
                *current = stop;
            }
            sterner
        });
    }
}

impl Stopping {
    /// What was asked for so far.
    pub fn asked(&self) -> Stop {
        *self.0.borrow()
    }

    /// Resolves when anything is asked for.
    pub async fn wait_for_any(&mut self) {
        self.wait_for(Stop::Drain).await;
    }

    /// Resolves when at least this much is asked for.
    pub async fn wait_for(&mut self, stop: Stop) {
        if self.0.wait_for(|asked| *asked >= stop).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}
