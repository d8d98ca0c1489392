//! SIGTERM in each phase of a run whose store does not answer just then, and what
//! the next process makes of it. What happens while R is at work is in
//! `signals.rs`.

use bytes::Bytes;
use futures_util::TryStreamExt;
use rscore::store::{Store, StoreErrorKind};
use rustix::process::Signal;

use super::{X, doubled};
use crate::support::emulators::Bucket;
use crate::support::eventually;
use crate::support::holding::Holding;
use crate::support::job::{Job, Running};

/// A run whose store holds up some requests.
struct Held {
    job: Job,
    description: String,
    url: String,
    holding: Holding,
    store: Store,
}

impl Held {
    async fn new(method: &'static str, part: &'static str, limits: &str) -> Self {
        let bucket = Bucket::s3().await;
        let store = bucket.store();
        for partition in 0..2 {
            let rows: String = (0..3).map(|row| format!("{}\n", partition * 1000 + row)).collect();
            store.overwrite(&format!("in/{partition}.csv"), Bytes::from(format!("x\n{rows}"))).await.unwrap();
        }
        let holding = Holding::to(bucket.address, method, part).await;
        let bucket = bucket.behind(holding.address);
        let job = Job::script("score <- function(model, data) data$x * 2", X).environment(&bucket.variables);
        let url = &bucket.url;
        let description = format!(
            "model = \"model/1\"\noutput = \"{url}/out/{{p}}.csv\"\nkeep = [\"x\"]\n[inputs]\n\
             data = \"{url}/in/{{p:int}}.csv\"\n[limits]\n{limits}"
        );
        job.describe(&description);
        Self { job, description, url: url.clone(), holding, store }
    }

    /// A shard that is told to stop while its request is held up.
    async fn stopped(&mut self) -> Running {
        let shard = self.job.start(&["--run-id", "r"]);
        self.holding.holds().await;
        shard.signal(Signal::TERM);
        shard
    }

    async fn has(&self, path: &str) -> bool {
        match self.store.head(path).await {
            Ok(_) => true,
            Err(error) if error.kind() == StoreErrorKind::NotFound => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn state(&self, path: &str) -> bool {
        self.has(&format!("out/_rscore/runs/r/{path}")).await
    }

    /// Waits until the shard says that it takes no more partitions.
    async fn drains(&self) {
        eventually("a shard that drains", || async {
            let mut shards = self.store.list("out/_rscore/runs/r/shards").ok()?;
            let shard = shards.try_next().await.ok()??;
            let (_, beat) = self.store.get(&shard.path, 100_000).await.ok()?;
            String::from_utf8_lossy(&beat).contains("\"draining\"").then_some(())
        })
        .await;
    }

    /// Goes on with the run; in the end there is one right result.
    async fn completes(self) {
        self.holding.open();
        let (code, said) = self.job.run(&["--run-id", "r", "--resume"]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("6 read = 6 written"), "{said}");
        for partition in 0..2 {
            let (_, bytes) = self.store.get(&format!("out/{partition}.csv"), 1000).await.unwrap();
            assert_eq!(bytes, doubled(partition, 3));
        }
        assert!(self.state("_SUCCESS").await);
    }
}

const SHORT: &str = "stop_timeout = \"200ms\"\n";

#[tokio::test]
async fn while_inputs_are_listed() {
    let mut held = Held::new("GET", "prefix=in", "").await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!held.state("plan.json").await);
    held.completes().await;
}

#[tokio::test]
async fn while_the_bundle_is_fetched() {
    let mut held = Held::new("GET", "/model/1/score.R", "").await;
    for (name, text) in held.job.files("model/1") {
        held.store.overwrite(&format!("model/1/{name}"), Bytes::from(text)).await.unwrap();
    }
    held.job.describe(&held.description.replace("\"model/1\"", &format!("\"{}/model/1\"", held.url)));
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!held.state("plan.json").await);
    held.completes().await;
}

#[tokio::test]
async fn while_an_input_is_fetched() {
    let mut held = Held::new("GET", "/in/0.csv", SHORT).await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(held.state("claims/0/p=0/000000.json").await && !held.state("commits/0/p=0.json").await);
    held.completes().await;
}

#[tokio::test]
async fn while_the_plan_is_written() {
    let mut held = Held::new("PUT", "/plan.json", "").await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    held.completes().await;
}

#[tokio::test]
async fn while_the_state_of_the_run_is_read() {
    let mut held = Held::new("GET", "published", "").await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(held.state("plan.json").await);
    held.completes().await;
}

#[tokio::test]
async fn while_a_partition_is_claimed() {
    let mut held = Held::new("PUT", "/claims/", "").await;
    let shard = held.stopped().await;
    held.drains().await;
    held.holding.open();
    // What is claimed now is not begun.
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!held.has("out/0.csv").await && !held.has("out/1.csv").await);
    held.completes().await;
}

#[tokio::test]
async fn while_a_partition_is_committed_which_takes_too_long() {
    let mut held = Held::new("PUT", "/commits/", SHORT).await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!held.has("out/0.csv").await && !held.has("out/1.csv").await);
    held.completes().await;
}

#[tokio::test]
async fn while_the_last_partitions_are_committed_in_time() {
    let mut held = Held::new("PUT", "/commits/", "").await;
    let shard = held.job.start(&["--run-id", "r"]);
    held.holding.holds().await;
    held.holding.holds().await;
    shard.signal(Signal::TERM);
    held.drains().await;
    held.holding.open();
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "nothing is left: {said}");
    assert!(held.state("_SUCCESS").await);
    held.completes().await;
}

#[tokio::test]
async fn while_an_output_is_published() {
    let mut held = Held::new("PUT", "/out/0.csv", SHORT).await;
    let shard = held.stopped().await;
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "committed is not published: {said}");
    assert!(held.state("commits/0/p=0.json").await && !held.has("out/0.csv").await);
    held.completes().await;
}

#[tokio::test]
async fn while_the_report_is_written() {
    let mut held = Held::new("PUT", "/report.json", "").await;
    let shard = held.stopped().await;
    held.holding.open();
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(0), "{said}");
    held.completes().await;
}

#[tokio::test]
async fn twice_while_the_report_is_written() {
    let mut held = Held::new("PUT", "/report.json", "").await;
    let shard = held.stopped().await;
    shard.signal(Signal::INT);
    let (code, said) = shard.ended().await;
    assert_eq!(code, Some(75), "{said}");
    assert!(!held.state("report.json").await && !held.state("_SUCCESS").await);
    held.completes().await;
}
