//! Which version is the default, and what a failed load leaves.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::Future;
use std::pin::Pin;

use super::*;
use crate::frame::schema::Schema;
use crate::scoring::{Score, ScoreRequest, Scored};

struct Nothing;

impl Score for Nothing {
    fn score(&self, _: ScoreRequest) -> Pin<Box<dyn Future<Output = Result<Scored>> + Send + '_>> {
        Box::pin(async { Ok(Scored::empty()) })
    }

    fn ready_workers(&self) -> usize {
        1
    }
}

fn info() -> Arc<ModelInfo> {
    Arc::new(ModelInfo {
        description: None,
        class: Vec::new(),
        packages: Vec::new(),
        digest: String::new(),
        schemas: InputSchemas::single(Schema::default()),
        timeout: Duration::from_secs(1),
        row_independence: RowIndependence::Denied,
        sample: None,
    })
}

fn load(catalog: &Catalog, version: u32, generation: u64) -> Scorer {
    let scorer: Scorer = Arc::new(Nothing);
    catalog.switch("m", version, generation, info(), scorer.clone());
    scorer
}

fn default(catalog: &Catalog) -> u32 {
    catalog.default_version("m").unwrap()
}

#[test]
fn at_the_start_the_highest_is_waited_for() {
    let catalog = Catalog::default();
    for version in [1, 2, 3] {
        catalog.await_first("m", version);
    }
    load(&catalog, 1, 1);
    assert_eq!(default(&catalog), 3, "or callers would see versions change at each start");
    assert_eq!(*catalog.resolve("m", None).err().unwrap().kind(), Kind::Unavailable);
    catalog.fail("m", 3, "no");
    assert_eq!(default(&catalog), 2);
    catalog.fail("m", 2, "no");
    assert_eq!(default(&catalog), 1);
    assert_eq!(catalog.resolve("m", None).unwrap().version, 1);
}

#[test]
fn a_later_version_becomes_the_default_when_it_is_ready() {
    let catalog = Catalog::default();
    catalog.begin("m", 1);
    assert_eq!(default(&catalog), 1, "there is no better one");
    load(&catalog, 1, 1);
    catalog.begin("m", 2);
    assert_eq!(default(&catalog), 1);
    load(&catalog, 2, 1);
    assert_eq!(default(&catalog), 2);
    catalog.begin("m", 3);
    catalog.fail("m", 3, "no");
    assert_eq!(default(&catalog), 2);
    assert!(catalog.remove("m", 2));
    assert_eq!(default(&catalog), 1);
    assert_eq!(*catalog.resolve("m", Some(2)).err().unwrap().kind(), Kind::NotFound);
    assert!(catalog.remove("m", 1) && catalog.remove("m", 3) && !catalog.remove("m", 3));
    assert_eq!(*catalog.resolve("m", None).err().unwrap().kind(), Kind::NotFound);
}

#[test]
fn a_failed_reload_keeps_what_serves_and_says_why() {
    let catalog = Catalog::default();
    catalog.begin("m", 1);
    let first = load(&catalog, 1, 1);
    catalog.begin("m", 1);
    assert!(catalog.history("m", 1).unwrap().loading);
    catalog.fail("m", 1, &"long ".repeat(1000));
    let history = catalog.history("m", 1).unwrap();
    assert_eq!((history.generation, history.loading), (Some(1), false));
    assert_eq!(history.last_error.unwrap().reason.len(), MAX_REASON);
    assert!(Arc::ptr_eq(&catalog.resolve("m", None).unwrap().scorer, &first));

    catalog.begin("m", 1);
    let second = load(&catalog, 1, 2);
    let history = catalog.history("m", 1).unwrap();
    assert!(history.generation == Some(2) && history.last_error.is_none() && history.loaded_at.is_some());
    assert!(Arc::ptr_eq(&catalog.resolve("m", None).unwrap().scorer, &second));
    assert_eq!(Arc::strong_count(&first), 1, "nobody but the test holds what was replaced");
}
