//! From a checked request to its predictions: the [`Scorer`] handle that the
//! doors call, and what stands behind it.

pub mod batching;
pub mod catalog;
pub mod cost;
pub mod dispatcher;
pub mod drain;
pub mod independence;
pub mod load;
pub mod pacing;
pub mod quarantine;
pub mod queue;
pub mod reload;
pub mod slots;
pub mod workers;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use crate::error::Result;
use crate::frame::schema::Inputs;
use crate::pool::Health;
use crate::telemetry::context::RequestContext;

/// One caller's rows, already typed against the model's schemas.
#[derive(Debug)]
pub struct ScoreRequest {
    /// One record batch per input of the model.
    pub inputs: Inputs<RecordBatch>,
    /// When the answer stops being of use; it is then an error of
    /// [`Kind::DeadlineExceeded`](crate::error::Kind::DeadlineExceeded).
    pub deadline: Instant,
    /// What the log says of the request.
    pub context: RequestContext,
}

/// Predictions for one request: as many rows as it had, in its order.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The predictions, one column or several.
    pub batch: RecordBatch,
    /// Whether R gave a plain vector (or one unnamed column), so that the
    /// answer is a plain array.
    pub unnamed: bool,
    /// R warnings raised while these rows were scored.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub times: StageTimes,
    /// The call that scored them; none when there was none, or several.
    pub call: Option<Call>,
}

/// A call of R.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Number of the worker, as in the log.
    pub worker: u64,
    /// Rows that it scored, those of other requests among them.
    pub rows: usize,
}

impl Scored {
    /// The predictions for no rows, where no others are known.
    pub fn empty() -> Self {
        let column = arrow_schema::Field::new(UNNAMED_COLUMN, arrow_schema::DataType::Float64, true);
        Self::without_rows(Arc::new(arrow_schema::Schema::new(vec![column])), true)
    }

    /// The predictions for no rows with these columns.
    pub fn without_rows(columns: arrow_schema::SchemaRef, unnamed: bool) -> Self {
        Self {
            batch: RecordBatch::new_empty(columns),
            unnamed,
            warnings: Vec::new(),
            times: StageTimes::default(),
            call: None,
        }
    }
}

/// Name of the only column where R gave a plain vector; `bootstrap.R` has it too.
const UNNAMED_COLUMN: &str = "prediction";

/// Time that a request spent in the stages between decoding and encoding.
#[derive(Debug, Clone, Copy, Default)]
pub struct StageTimes {
    /// Waiting for a scoring slot and a worker.
    pub queue: Duration,
    /// Turning columns into R vectors and back, in the worker.
    pub convert: Duration,
    /// Inside R.
    pub score: Duration,
}

/// The workers of one generation of a model version.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct WorkerCounts {
    /// Workers that wait for a call.
    pub idle: usize,
    /// Workers that are scoring.
    pub busy: usize,
    /// Workers that ended since the generation was loaded, by reason.
    pub ended: BTreeMap<&'static str, u64>,
}

/// Something that scores requests of one model version.
pub trait Score: Send + Sync {
    /// Scores one request. Dropping the future abandons the answer, not the
    /// worker.
    fn score(&self, request: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>>;

    /// Workers that are alive, busy or idle, for readiness.
    fn ready_workers(&self) -> usize;

    /// What the workers do at the moment, and how many have ended.
    fn workers(&self) -> WorkerCounts {
        WorkerCounts { idle: self.ready_workers(), ..WorkerCounts::default() }
    }

    /// How the processes behind it are.
    fn health(&self) -> Health {
        Health { workers: self.ready_workers(), ..Health::default() }
    }

    /// Whether rows of different requests share calls at the moment.
    fn joins_requests(&self) -> bool {
        false
    }

    /// What an audit found, if it ended that for good.
    fn refutation(&self) -> Option<&str> {
        None
    }

    /// Sets the gauges that describe the moment.
    fn publish_metrics(&self) {}
}

/// Cheap handle to whatever scores one model version.
pub type Scorer = Arc<dyn Score>;
