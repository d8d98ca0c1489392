//! Who may load when. Reading a model keeps a core busy, so only so many are
//! loaded at once; and where memory is limited, no more generations are there at
//! once than `pool/sizing.rs` has counted.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::generations::Generations;
use crate::model::watch::Key;

/// Gives turns to loads. Clones share them.
#[derive(Clone)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// For versions of which a generation serves, where memory is limited.
    beside: Option<Arc<Semaphore>>,
    generations: Generations,
}

/// A turn, until it is dropped: when the generation has taken the place of the one
/// before it, or has none.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Turns {
    /// As many at once as there are workers, and at least two.
    pub(super) fn new(workers: usize, memory_is_limited: bool, generations: Generations) -> Self {
        let beside = memory_is_limited.then(|| Arc::new(Semaphore::new(1)));
        Self { all: Arc::new(Semaphore::new(workers.max(2))), beside, generations }
    }

    /// Waits for the turn of a version, of which a generation may serve meanwhile.
    pub(super) async fn take(&self, key: &Key, is_served: bool) -> Turn {
        self.generations.room_for(Some(key)).await;
        // The semaphores are never closed.
        let alone = match self.beside.as_ref().filter(|_| is_served) {
            Some(beside) => {
                let permit = Arc::clone(beside).acquire_owned().await.ok();
                self.generations.room_for(None).await;
                permit
            }
            None => None,
        };
        let permit = Arc::clone(&self.all).acquire_owned().await.ok();
        Turn { _permits: [alone, permit] }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key(model: &str) -> Key {
        (model.to_owned(), 1)
    }

    fn now(turns: &Turns, model: &str, is_served: bool) -> Option<Turn> {
        turns.take(&key(model), is_served).now_or_never()
    }

    #[tokio::test]
    async fn as_many_are_loaded_at_once_as_there_are_workers() {
        let turns = Turns::new(3, false, Generations::default());
        let taken = ["a", "b", "c"].map(|model| now(&turns, model, true).expect("a turn"));
        assert!(now(&turns, "d", true).is_none() && now(&turns, "d", false).is_none());
        drop(taken);
        assert!(now(&turns, "d", true).is_some());
    }

    #[tokio::test]
    async fn where_memory_is_limited_one_is_loaded_beside_those_that_serve() {
        let turns = Turns::new(3, true, Generations::default());
        let reload = now(&turns, "a", true).expect("a turn");
        assert!(now(&turns, "b", true).is_none(), "one generation more than there are versions");
        let first = now(&turns, "c", false).expect("nothing of it serves, and its memory was counted");
        drop(reload);
        assert!(now(&turns, "b", true).is_some());
        drop(first);
    }
}
