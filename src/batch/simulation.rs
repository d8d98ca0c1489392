//! Shards against a store that fails, in virtual time: replies get lost, writes
//! that were reported to fail have happened, "exists" is answered although
//! nothing was written, requests are repeated by the client, processes die or
//! stand still at any moment. Whatever happens, each partition has exactly one
//! outcome, one published output which is that of the outcome, and the law of
//! conservation holds.

mod ends;
mod late;
pub(super) mod store;
mod workshop;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use self::store::{Faults, Link, SimulatedStore};
use self::workshop::SimulatedWorkshop;
use super::commit::Patience;
use super::digest::sha256_hex;
use super::finish;
use super::job::Errors;
use super::layout::Layout;
use super::objects::Objects;
use super::plan::{Partition, PlanHead, Source, VERSION};
use super::progress::Progress;
use super::record::{Claim, Finding, Outcome};
use super::run::board::Board;
use super::run::heartbeat::Pulse;
use super::run::shard::{End, Identity, Pace, Shard};
use super::run::stop::{Stop, stop};

const ROWS: u64 = 10;

/// What happens to a shard while it works.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Nothing.
    Lives,
    /// It dies at this moment and is started again a second later.
    DiesAt(u64),
    /// It dies and is gone for good.
    IsGoneAt(u64),
    /// It stands still from one moment for so long.
    StandsStill(u64, u64),
    /// It is told to stop, and is started again a second later.
    StopsAt(u64),
}

#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    partitions: usize,
    fates: Vec<Fate>,
    faults: Faults,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let moment = 0u64..20_000;
    let fate = prop_oneof![
        3 => Just(Fate::Lives),
        2 => moment.clone().prop_map(Fate::DiesAt),
        1 => moment.clone().prop_map(Fate::IsGoneAt),
        2 => (moment.clone(), 1_000u64..60_000).prop_map(|(at, long)| Fate::StandsStill(at, long)),
        2 => moment.prop_map(Fate::StopsAt),
    ];
    let percent = 0u32..10;
    let faults = (percent.clone(), percent.clone(), percent.clone(), percent)
        .prop_map(|(lost_reply, failed, false_exists, repeated)| Faults { lost_reply, failed, false_exists, repeated });
    (any::<u64>(), 1usize..12, proptest::collection::vec(fate, 1..4), faults)
        .prop_map(|(seed, partitions, fates, faults)| Scenario { seed, partitions, fates, faults })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_partition_is_settled_once(scenario in scenarios()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(play(&scenario))?;
    }
}

async fn play(scenario: &Scenario) -> Result<(), TestCaseError> {
    let store = Arc::new(SimulatedStore::new(scenario.seed, scenario.faults));
    let partitions: Arc<[Partition]> = (0..scenario.partitions).map(partition).collect();
    let count = scenario.fates.len() as u64;
    let actors: Vec<_> = scenario
        .fates
        .iter()
        .enumerate()
        .map(|(index, &fate)| tokio::spawn(live(store.clone(), partitions.clone(), index as u64, count, fate)))
        .collect();
    for actor in actors {
        actor.await.map_err(|error| TestCaseError::fail(format!("a shard panicked: {error}")))?;
    }
    // Somebody runs it again in the end, undisturbed.
    // A shard gives up when the store fails again and again, and is run again.
    let mut end = None;
    for _ in 0..50 {
        end = work(&store, &partitions, 0, 1, Fate::Lives).await;
        if end.is_some() {
            break;
        }
    }
    prop_assert_eq!(end, Some(End::Complete));
    // Ghosts that were still standing still have woken up by now.
    tokio::time::sleep(Duration::from_secs(200)).await;
    check(&store, &partitions).await
}

fn partition(number: usize) -> Partition {
    let source = Source { path: format!("in/{number}"), size: 100, etag: Some("1".to_owned()), part: None };
    Partition { id: format!("p={number}"), inputs: vec![("data".to_owned(), source)], output: format!("out/{number}") }
}

/// The life of one shard with its restarts.
async fn live(store: Arc<SimulatedStore>, partitions: Arc<[Partition]>, index: u64, count: u64, fate: Fate) {
    let mut fate = fate;
    for _ in 0..20 {
        match (work(&store, &partitions, index, count, fate).await, fate) {
            (Some(End::Complete), _) | (_, Fate::IsGoneAt(_)) => return,
            _ => {
                fate = Fate::Lives;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One process; none when it died or gave up.
async fn work(
    store: &Arc<SimulatedStore>,
    partitions: &Arc<[Partition]>,
    index: u64,
    count: u64,
    fate: Fate,
) -> Option<End> {
    let link = Arc::new(Link::new(store.clone()));
    let objects: Arc<dyn Objects> = link.clone();
    let (stopper, stopping) = stop();
    let process = {
        let (objects, partitions, stopper) = (objects.clone(), partitions.clone(), stopper.clone());
        async move {
            let layout = Layout::new("r");
            let board = Board::read(&*objects, layout.clone(), partitions.clone()).await.ok()?;
            let claim = Claim { shard: index.to_string(), instance: uuid::Uuid::now_v7().simple().to_string() };
            let workshop = Arc::new(SimulatedWorkshop::new(layout.clone(), claim.shard.clone()));
            let pulse = Pulse::new(objects.clone(), &layout, &claim, workshop.clone(), "here".to_owned(), 1);
            let shard = Shard {
                objects,
                identity: Identity { index, count: Some(count) },
                claim,
                workshop,
                pace: Pace {
                    width: 2,
                    shard_timeout: Duration::from_secs(10),
                    stop_timeout: Duration::from_secs(3),
                    patience: Patience { tries: 8, pause: Duration::from_millis(50) },
                },
                progress: Arc::new(Progress::new(partitions.len() as u64, 100)),
                pulse: Arc::new(pulse),
            };
            shard.run(board, stopper, stopping).await.inspect_err(|trouble| println!("a shard gave up: {trouble}")).ok()
        }
    };
    let process = tokio::spawn(process);
    let abort = process.abort_handle();
    let disturbance = tokio::spawn(async move {
        match fate {
            Fate::Lives => {}
            Fate::DiesAt(at) | Fate::IsGoneAt(at) => {
                tokio::time::sleep(Duration::from_millis(at)).await;
                // A dead process writes nothing more, whatever tasks it had.
                link.cut();
                abort.abort();
            }
            Fate::StandsStill(at, long) => {
                tokio::time::sleep(Duration::from_millis(at)).await;
                link.stand_still(Duration::from_millis(long));
            }
            Fate::StopsAt(at) => {
                tokio::time::sleep(Duration::from_millis(at)).await;
                stopper.ask(Stop::Drain);
            }
        }
    });
    let end = process.await.ok().flatten();
    disturbance.abort();
    end
}

/// The truths that must hold in the end.
async fn check(store: &Arc<SimulatedStore>, partitions: &Arc<[Partition]>) -> Result<(), TestCaseError> {
    let layout = Layout::new("r");
    let objects = store.contents();
    prop_assert!(store.no_created_object_was_overwritten(), "an outcome was overwritten");
    for partition in partitions.iter() {
        let bytes = objects.get(&layout.outcome(0, &partition.id));
        let Some(bytes) = bytes else { return Err(TestCaseError::fail(format!("{} is not settled", partition.id))) };
        let outcome: Outcome = serde_json::from_slice(bytes).expect("an outcome");
        match &outcome.result {
            Finding::Scored { output } => {
                let published = objects.get(&partition.output);
                prop_assert_eq!(
                    published.map(|bytes| sha256_hex(bytes)),
                    Some(output.sha256.clone()),
                    "{} has another output than its outcome says",
                    partition.id
                );
            }
            Finding::Failed { .. } => {
                prop_assert!(!objects.contains_key(&partition.output), "{} failed and has an output", partition.id);
            }
        }
    }
    let outcomes: HashSet<&String> = objects.keys().filter(|path| path.starts_with(&layout.outcomes(0))).collect();
    prop_assert_eq!(outcomes.len(), partitions.len());

    let quiet = Link::new(Arc::new(SimulatedStore::holding(objects)));
    let board = Board::read(&quiet, layout, partitions.clone()).await.expect("a quiet store");
    let head = PlanHead {
        version: VERSION,
        run: "r".to_owned(),
        created: String::new(),
        job: String::new(),
        digest: String::new(),
        partitions: partitions.len() as u64,
        bytes: 0,
        model_digest: None,
        broadcast: Vec::new(),
        missing: Vec::new(),
        missing_count: 0,
    };
    let errors = Errors { max_failed_partitions: 1000, max_row_error_rate: 1.0, ..Errors::strict() };
    let report = finish::report(&quiet, &head, &board, &errors).await.expect("a quiet store");
    prop_assert!(report.conserved, "{:?}", report);
    prop_assert!(report.within_thresholds, "{:?}", report);
    prop_assert_eq!(report.rows.read, partitions.len() as u64 * ROWS);
    Ok(())
}
