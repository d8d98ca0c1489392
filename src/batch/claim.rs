//! Claims tell other shards what is being worked on. They save work and are
//! never needed for safety: two shards that both believe to hold a partition
//! meet at its commit.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::layout::Layout;
use super::objects::{Created, Objects, StoreTrouble, read_json, to_json};
use super::record::{Claim, Heartbeat, ShardState};

/// What came of an attempt to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours.
    Ours,
    /// Another shard has it, as far as we know.
    Theirs,
}

/// Claims a partition that nobody has claimed.
///
/// # Errors
/// The store's.
pub async fn claim(
    objects: &dyn Objects,
    layout: &Layout,
    generation: u32,
    partition: &str,
    epoch: u32,
    claim: &Claim,
) -> Result<Claimed, StoreTrouble> {
    let path = layout.claim(generation, partition, epoch);
    match objects.create(&path, to_json(claim)?).await {
        Ok(Created::New) => Ok(Claimed::Ours),
        // It may be our own, met again by a retry; then nobody else works on it.
        Ok(Created::Exists) | Err(_) => match read_json::<Claim>(objects, &path).await? {
            Some(there) if there.instance == claim.instance => Ok(Claimed::Ours),
            Some(_) => Ok(Claimed::Theirs),
            // Not written after all. Working without a claim is safe.
            None => Ok(Claimed::Ours),
        },
    }
}

/// The last claim of a partition with its epoch.
///
/// # Errors
/// The store's.
pub async fn last_claim(
    objects: &dyn Objects,
    layout: &Layout,
    generation: u32,
    partition: &str,
) -> Result<Option<(u32, Claim)>, StoreTrouble> {
    let folder = layout.claims(generation, partition);
    let listed = objects.list(&folder).await?;
    let epochs = listed
        .iter()
        .filter_map(|object| object.path.strip_prefix(&folder)?.strip_suffix(".json")?.parse::<u32>().ok());
    let Some(epoch) = epochs.max() else { return Ok(None) };
    let claim = read_json(objects, &layout.claim(generation, partition, epoch)).await?;
    Ok(claim.map(|claim| (epoch, claim)))
}

/// Judges by one's own clock whether other shards live: one that says nothing new
/// for too long is taken for dead. No two clocks are ever compared.
#[derive(Debug)]
pub struct Liveness {
    timeout: Duration,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    instance: String,
    beat: u64,
    state: ShardState,
    changed: Instant,
}

impl Liveness {
    /// Nobody was seen so far.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, seen: HashMap::new() }
    }

    /// Takes notice of heartbeats that were read at `now`.
    pub fn observe(&mut self, heartbeats: &[Heartbeat], now: Instant) {
        for Heartbeat { shard, instance, beat, state, .. } in heartbeats {
            let same = self
                .seen
                .get(shard)
                .is_some_and(|seen| seen.instance == *instance && seen.beat == *beat && seen.state == *state);
            if !same {
                let seen = Seen { instance: instance.clone(), beat: *beat, state: *state, changed: now };
                self.seen.insert(shard.clone(), seen);
            }
        }
    }

    /// Whether whoever made a claim is still at it. A shard that was never seen has
    /// the benefit of the doubt for as long as a silent one.
    pub fn is_alive(&mut self, claim: &Claim, now: Instant) -> bool {
        let seen = self.seen.entry(claim.shard.clone()).or_insert_with(|| Seen {
            instance: claim.instance.clone(),
            beat: 0,
            state: ShardState::Working,
            changed: now,
        });
        // The shard was started again: what it had claimed before is nobody's.
        seen.instance == claim.instance
            && seen.state == ShardState::Working
            && now.saturating_duration_since(seen.changed) < self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(instance: &str, beat: u64, state: ShardState) -> Heartbeat {
        let claim = Claim { shard: "1".to_owned(), instance: instance.to_owned() };
        Heartbeat { beat, state, ..Heartbeat::new(&claim, String::new(), 1) }
    }

    #[test]
    fn silence_restart_and_drain_end_a_claim() {
        let claim = Claim { shard: "1".to_owned(), instance: "a".to_owned() };
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut liveness = Liveness::new(10 * second);
        assert!(liveness.is_alive(&claim, start), "never seen, but not for long");
        assert!(!liveness.is_alive(&claim, start + 10 * second));
        liveness.observe(&[heartbeat("a", 1, ShardState::Working)], start + 11 * second);
        assert!(liveness.is_alive(&claim, start + 20 * second));
        liveness.observe(&[heartbeat("a", 1, ShardState::Working)], start + 21 * second);
        assert!(!liveness.is_alive(&claim, start + 21 * second), "the same beat is no sign of life");
        liveness.observe(&[heartbeat("a", 2, ShardState::Working)], start + 22 * second);
        assert!(liveness.is_alive(&claim, start + 23 * second), "a stopped process goes on");
        liveness.observe(&[heartbeat("a", 3, ShardState::Draining)], start + 24 * second);
        assert!(!liveness.is_alive(&claim, start + 24 * second));
        liveness.observe(&[heartbeat("b", 1, ShardState::Working)], start + 25 * second);
        assert!(!liveness.is_alive(&claim, start + 25 * second), "another process took its place");
    }
}
