//! The heartbeat of a shard: it tells others that the shard lives and what it is
//! doing, and looks whether the run was cancelled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Workshop;
use super::stop::{Stop, Stopper};
use crate::batch::layout::Layout;
use crate::batch::objects::{Objects, StoreTrouble, read_json, to_json};
use crate::batch::record::{Claim, Heartbeat};

/// Beats in the time after which a silent shard is taken for dead.
const BEATS_PER_TIMEOUT: u32 = 5;

/// The pulse of one process.
pub struct Pulse {
    objects: Arc<dyn Objects>,
    path: String,
    cancel: String,
    workshop: Arc<dyn Workshop>,
    started: Instant,
    heartbeat: Mutex<Heartbeat>,
}

impl Pulse {
    /// A pulse that has not yet beaten.
    pub fn new(
        objects: Arc<dyn Objects>,
        layout: &Layout,
        claim: &Claim,
        workshop: Arc<dyn Workshop>,
        host: String,
        workers: u64,
    ) -> Self {
        Self {
            path: layout.shard(&claim.shard),
            cancel: layout.cancel(),
            objects,
            workshop,
            started: Instant::now(),
            heartbeat: Mutex::new(Heartbeat::new(claim, host, workers)),
        }
    }

    /// Changes what the next beat says.
    pub fn note(&self, change: impl FnOnce(&mut Heartbeat)) {
        change(&mut self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Beats once.
    ///
    /// # Errors
    /// The store's.
    pub async fn beat(&self) -> Result<(), StoreTrouble> {
        let usage = self.workshop.usage();
        let heartbeat = {
            let mut heartbeat = self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner);
            heartbeat.beat += 1;
            heartbeat.held_seconds = self.started.elapsed().as_secs_f64();
            heartbeat.busy_seconds = usage.busy_seconds;
            heartbeat.memory_bytes = heartbeat.memory_bytes.max(usage.memory_bytes);
            heartbeat.clone()
        };
        self.objects.write(&self.path, to_json(&heartbeat)?).await
    }

    /// Whether somebody cancelled the run.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_cancelled(&self) -> Result<bool, StoreTrouble> {
        Ok(self.objects.read(&self.cancel).await?.is_some())
    }

    /// Beats for as long as it is polled. Trouble is logged: others then take over
    /// what we work on, which is safe.
    pub async fn run(&self, shard_timeout: Duration, stopper: &Stopper) {
        let mut ticks = tokio::time::interval(shard_timeout / BEATS_PER_TIMEOUT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.beat().await {
                tracing::warn!("the heartbeat could not be written: {error}");
            }
            match self.is_cancelled().await {
                Ok(true) => stopper.ask(Stop::Cancel),
                Ok(false) => {}
                Err(error) => tracing::warn!("it is not known whether the run was cancelled: {error}"),
            }
        }
    }
}

/// The heartbeats of all shards of a run.
///
/// # Errors
/// The store's.
pub async fn heartbeats(objects: &dyn Objects, layout: &Layout) -> Result<Vec<Heartbeat>, StoreTrouble> {
    let mut heartbeats = Vec::new();
    for object in objects.list(&layout.shards()).await? {
        heartbeats.extend(read_json(objects, &object.path).await?);
    }
    Ok(heartbeats)
}
