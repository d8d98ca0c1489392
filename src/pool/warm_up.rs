//! The rows that a zygote scores before it is forked. They come from whoever
//! knows the model's schema or has its sample, once the bundle is loaded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;

use crate::frame::schema::Inputs;
use crate::worker::protocol::LoadedModel;

type ChooseRows = dyn Fn(&LoadedModel) -> Option<Inputs<RecordBatch>> + Send + Sync;

/// Where the rows of a warm-up come from. Clones share their state.
#[derive(Clone)]
pub struct WarmUp {
    rows: Arc<ChooseRows>,
    /// Whether an attempt spoilt its process, so that further ones would too.
    given_up: Arc<AtomicBool>,
}

impl WarmUp {
    /// Rows for a model that was loaded; none when nothing can be made up for it.
    pub fn new(rows: impl Fn(&LoadedModel) -> Option<Inputs<RecordBatch>> + Send + Sync + 'static) -> Self {
        Self { rows: Arc::new(rows), given_up: Arc::default() }
    }

    pub(super) fn rows(&self, loaded: &LoadedModel) -> Option<Inputs<RecordBatch>> {
        (self.rows)(loaded)
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUp").field("given_up", &self.given_up).finish_non_exhaustive()
    }
}
