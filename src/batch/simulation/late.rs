//! A process that stands still between its commit and its publication, until others
//! have taken it for dead and published what it committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::partition;
use super::store::{Link, SimulatedStore};
use super::workshop::SimulatedWorkshop;
use crate::batch::commit::Patience;
use crate::batch::layout::Layout;
use crate::batch::objects::{Answer, Created, Listed, Objects};
use crate::batch::record::{Claim, Finding};
use crate::batch::run::attempt::{Bench, Ended};
use crate::batch::run::publish::publish_again;

const SHARD_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to the store of a process that stands still when it has created something.
struct Sleeper(Link);

impl Objects for Sleeper {
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, Created> {
        Box::pin(async move {
            let created = self.0.create(path, bytes).await;
            tokio::time::sleep(6 * SHARD_TIMEOUT).await;
            created
        })
    }

    fn write<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        self.0.write(path, bytes)
    }

    fn read<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Bytes>> {
        self.0.read(path)
    }

    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
        self.0.list(folder)
    }

    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.0.remove(path)
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_have_published_meanwhile_is_left_as_it_is() {
    let store = Arc::new(SimulatedStore::holding(BTreeMap::new()));
    let layout = Layout::new("r");
    let mut scored = 0;
    // Some of them fail, and have nothing to publish.
    for number in 0..10 {
        let attempt = tokio::spawn({
            let (sleeper, layout) = (Sleeper(Link::new(store.clone())), layout.clone());
            async move {
                let claim = Claim { shard: "0".to_owned(), instance: "a".to_owned() };
                let bench = Bench {
                    objects: &sleeper,
                    layout: &layout,
                    claim: &claim,
                    workshop: &SimulatedWorkshop::new(layout.clone(), claim.shard.clone()),
                    patience: Patience::default(),
                    shard_timeout: SHARD_TIMEOUT,
                };
                bench.attempt(&partition(number), 0, 0).await
            }
        });
        let partition = partition(number);
        while !store.contents().contains_key(&layout.outcome(0, &partition.id)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let other = Link::new(store.clone());
        publish_again(&other, &layout, 0, &partition.id).await.expect("a store that answers");
        // From now on it is its readers'.
        let theirs = Bytes::from_static(b"theirs");
        other.write(&partition.output, theirs.clone()).await.expect("a store that answers");
        assert!(!attempt.is_finished(), "it did not stand still");
        let ended = attempt.await.expect("no panic").expect("an end");
        let Ended::Settled { outcome, ours: true, published: true } = ended else { panic!("{ended:?}") };
        assert_eq!(store.contents().get(&partition.output), Some(&theirs));
        scored += u32::from(matches!(outcome.result, Finding::Scored { .. }));
    }
    assert!(scored > 0, "all have failed");
}
