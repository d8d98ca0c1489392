//! What a worker runs: something that loads a bundle and scores frames. R is
//! one; a scripted one lives with the tests. One conformance suite
//! (`tests/integration/engine.rs`) holds both to the same behaviour.

use std::time::Duration;

use arrow_array::RecordBatch;
use rustix::process::Pid;

use super::protocol::{LoadRequest, LoadedModel, Predictions};
use crate::error::Condition;
use crate::frame::schema::Inputs;

/// A model runtime that lives in one process, on its main thread.
pub trait Engine {
    /// Loads packages, model and script. Called once, before any fork.
    ///
    /// # Errors
    /// The condition that stopped it.
    fn load(&mut self, request: &LoadRequest) -> Result<LoadedModel, Condition>;

    /// Collects all garbage in the zygote, so that few pages are written to after
    /// the fork.
    fn collect(&mut self) {}

    /// Collects in a worker what became garbage since it was forked. Called when it
    /// is idle.
    fn collect_young(&mut self) {}

    /// Called in a worker after each answer, which is on its way by then: the place
    /// for what is better done between calls than within one.
    fn between_calls(&mut self) {}

    /// Called first in every forked worker: draws apart what the zygote's
    /// children must not share, such as the state of the random generator.
    /// `workers` share what the zygote loaded.
    fn after_fork(&mut self, workers: u32);

    /// From now on each call begins with this state of the random generator, six
    /// numbers of L'Ecuyer-CMRG.
    fn use_stream(&mut self, _stream: [i32; 6]) {}

    /// Called last in a forked worker that ends by itself.
    fn before_exit(&mut self) {}

    /// Called in the zygote when a worker has ended, however it did, to remove
    /// what it left behind.
    fn after_worker(&mut self, _worker: Pid) {}

    /// Scores one call. Must not panic on anything that a model can do.
    fn score(&mut self, inputs: &Inputs<RecordBatch>) -> Outcome;
}

/// What came out of one call.
#[derive(Debug)]
pub struct Outcome {
    /// Predictions or the model's error.
    pub result: Result<Predictions, Condition>,
    /// Warnings raised on the way.
    pub warnings: Vec<String>,
    /// Whether the process should be replaced after this call.
    pub retire: bool,
    /// How far the runtime has come since the fork on its way to a collection of all its
    /// garbage, in collections.
    pub collections: u32,
    /// Time spent converting between columns and the runtime's own values.
    pub convert: Duration,
    /// Time spent in the model.
    pub score: Duration,
}
