//! How a shard ends otherwise than well: by trouble that nobody's patience ends, and
//! by a stop while the store does not answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

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
use crate::batch::run::stop::{Stop, stop};
use crate::batch::run::{Made, Order, Unmade, Usage, Workshop};

/// A workshop that makes nothing.
struct Broken(StoreTrouble);

const STOP_TIMEOUT: Duration = Duration::from_secs(3);

impl Workshop for Broken {
    fn make<'a>(&'a self, _: Order<'a>) -> Pin<Box<dyn Future<Output = Result<Made, Unmade>> + Send + 'a>> {
        Box::pin(async { Err(Unmade::Trouble(self.0.clone())) })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A shard on two partitions, and the look at them that it begins with.
async fn new_shard(link: &Arc<Link>, trouble: StoreTrouble) -> (Shard, Board) {
    let objects: Arc<dyn Objects> = link.clone();
    let layout = Layout::new("r");
    let partitions: Arc<[Partition]> = (0..2).map(partition).collect();
    let board = Board::read(&*objects, layout.clone(), partitions).await.expect("a store that answers");
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
            stop_timeout: STOP_TIMEOUT,
            patience: Patience { tries: 8, pause: Duration::from_millis(50) },
        },
        progress: Arc::new(Progress::new(2, 100)),
        pulse: Arc::new(pulse),
    };
    (shard, board)
}

fn new_link() -> Arc<Link> {
    Arc::new(Link::new(Arc::new(SimulatedStore::holding(BTreeMap::new()))))
}

#[tokio::test(start_paused = true)]
async fn trouble_that_stays_is_told_apart_from_trouble_that_passes() {
    for (trouble, permanent) in [(StoreTrouble::new("away"), false), (StoreTrouble::permanent("denied"), true)] {
        let (shard, board) = new_shard(&new_link(), trouble).await;
        let (stopper, stopping) = stop();
        let given_up = shard.run(board, stopper, stopping).await.expect_err("there is no end");
        assert_eq!(given_up.is_permanent(), permanent, "{given_up}");
        assert!(given_up.to_string().contains("was given up for now"), "{given_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_seen_while_the_store_does_not_answer() {
    for silent_from in [0, 2, 4] {
        let link = new_link();
        let (shard, board) = new_shard(&link, StoreTrouble::new("away")).await;
        let (stopper, stopping) = stop();
        let running = tokio::spawn(shard.run(board, stopper.clone(), stopping));
        tokio::time::sleep(Duration::from_secs(silent_from)).await;
        link.stand_still(Duration::from_secs(100_000));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let asked = Instant::now();
        stopper.ask(Stop::Drain);
        let end = running.await.expect("no panic");
        assert_eq!(end, Ok(End::Interrupted));
        // The stop timeout, a last look, and a last word.
        assert!(asked.elapsed() <= STOP_TIMEOUT + Duration::from_secs(7), "{:?}", asked.elapsed());
    }
}
