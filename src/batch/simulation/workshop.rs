//! A workshop whose outputs differ from attempt to attempt, as those of a model
//! without a seed would: only then is a mix of two attempts seen.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::ROWS;
use crate::batch::digest::{sha256_hex, stable_hash};
use crate::batch::layout::Layout;
use crate::batch::record::{Cause, Failure, Finding, Outcome, Rows, Times, Written};
use crate::batch::run::{Made, Order, Unmade, Usage, Workshop};

pub struct SimulatedWorkshop {
    layout: Layout,
    shard: String,
}

impl SimulatedWorkshop {
    pub fn new(layout: Layout, shard: String) -> Self {
        Self { layout, shard }
    }

    fn made(&self, order: Order<'_>) -> Made {
        let Order { partition, attempt, generation } = order;
        let bytes = Bytes::from(format!("{} by {attempt}", partition.id));
        // One in eight fails; two attempts need not agree on that either.
        let failed = stable_hash(attempt).is_multiple_of(8);
        let (result, rows) = if failed {
            let failure = Failure { cause: Cause::RError, message: "no".to_owned(), condition: None };
            (Finding::Failed { failure }, Rows { read: ROWS, failed: ROWS, ..Rows::default() })
        } else {
            let output = Written {
                path: partition.output.clone(),
                staged: self.layout.staged(&partition.id, attempt, "data"),
                size: bytes.len() as u64,
                sha256: sha256_hex(&bytes),
            };
            (Finding::Scored { output }, Rows { read: ROWS, written: ROWS - 1, quarantined: 1, failed: 0 })
        };
        Made {
            outcome: Outcome {
                partition: partition.id.clone(),
                attempt: attempt.to_owned(),
                shard: self.shard.clone(),
                generation,
                rows,
                result,
                quarantine: Vec::new(),
                warnings: 0,
                model_digest: "m".to_owned(),
                etags: Vec::new(),
                times: Times::default(),
                tries: 1,
                worker_bytes: 0,
                reused: false,
            },
            output: (!failed).then_some(bytes),
            quarantine: Vec::new(),
            log: Bytes::new(),
            permit: None,
        }
    }
}

impl Workshop for SimulatedWorkshop {
    fn make<'a>(&'a self, order: Order<'a>) -> Pin<Box<dyn Future<Output = Result<Made, Unmade>> + Send + 'a>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(stable_hash(order.attempt) % 4000)).await;
            Ok(self.made(order))
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
