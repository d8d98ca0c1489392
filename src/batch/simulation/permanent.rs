//! Trouble that nobody's patience ends: a shard gives up and says so, so that its
//! process is not started again for ever.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::partition;
use super::store::{Link, SimulatedStore};
use crate::batch::commit::Patience;
use crate::batch::layout::Layout;
use crate::batch::objects::{Objects, StoreTrouble};
use crate::batch::plan::Partition;
use crate::batch::progress::Progress;
use crate::batch::record::Claim;
use crate::batch::run::board::Board;
use crate::batch::run::heartbeat::Pulse;
use crate::batch::run::shard::{End, Identity, Pace, Shard};
use crate::batch::run::stop::stop;
use crate::batch::run::{Made, Order, Unmade, Usage, Workshop};

/// A workshop that makes nothing.
struct Broken(StoreTrouble);

impl Workshop for Broken {
    fn make<'a>(&'a self, _: Order<'a>) -> Pin<Box<dyn Future<Output = Result<Made, Unmade>> + Send + 'a>> {
        Box::pin(async { Err(Unmade::Trouble(self.0.clone())) })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

async fn end(trouble: StoreTrouble) -> Result<End, StoreTrouble> {
    let objects: Arc<dyn Objects> = Arc::new(Link::new(Arc::new(SimulatedStore::holding(BTreeMap::new()))));
    let layout = Layout::new("r");
    let partitions: Arc<[Partition]> = (0..2).map(partition).collect();
    let board = Board::read(&*objects, layout.clone(), partitions).await?;
    let claim = Claim { shard: "0".to_owned(), instance: "a".to_owned() };
    let workshop: Arc<dyn Workshop> = Arc::new(Broken(trouble));
    let pulse = Pulse::new(objects.clone(), &layout, &claim, workshop.clone(), "here".to_owned(), 1);
    let shard = Shard {
        objects,
        identity: Identity { index: 0, count: Some(1) },
        claim,
        workshop,
        pace: Pace {
            width: 2,
            shard_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(3),
            patience: Patience { tries: 8, pause: Duration::from_millis(50) },
        },
        progress: Arc::new(Progress::new(2, 100)),
        pulse: Arc::new(pulse),
    };
    let (stopper, stopping) = stop();
    shard.run(board, stopper, stopping).await
}

#[tokio::test(start_paused = true)]
async fn trouble_that_stays_is_told_apart_from_trouble_that_passes() {
    for (trouble, permanent) in [(StoreTrouble::new("away"), false), (StoreTrouble::permanent("denied"), true)] {
        let given_up = end(trouble).await.expect_err("there is no end");
        assert_eq!(given_up.is_permanent(), permanent, "{given_up}");
        assert!(given_up.to_string().contains("was given up for now"), "{given_up}");
    }
}
