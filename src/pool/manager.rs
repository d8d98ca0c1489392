//! The `deadpool` manager: creating a worker is forking one, recycling it is
//! making sure that it can take another call.

use std::io;
use std::sync::Arc;

use deadpool::managed::{Metrics, RecycleError, RecycleResult};

use super::worker::Worker;
use super::zygote::ZygoteSlot;

/// Makes and checks the workers of one pool.
pub struct Manager {
    zygote: Arc<ZygoteSlot>,
}

impl Manager {
    pub(super) fn new(zygote: Arc<ZygoteSlot>) -> Self {
        Self { zygote }
    }
}

impl deadpool::managed::Manager for Manager {
    type Type = Worker;
    type Error = io::Error;

    async fn create(&self) -> Result<Worker, io::Error> {
        self.zygote.current().fork().await
    }

    async fn recycle(&self, worker: &mut Worker, _metrics: &Metrics) -> RecycleResult<io::Error> {
        if worker.is_idle_and_alive() { Ok(()) } else { Err(RecycleError::message("the worker is gone or out of step")) }
    }
}
