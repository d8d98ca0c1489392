//! Scoring slots over all models: how many R computations may run at once, and
//! who gets the next one. A freed slot goes to the model that holds the fewest,
//! and among those to the one that has waited for its turn the longest, so that
//! a flooded model can't starve another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Tells the holders of slots apart; one per model version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder(u64);

/// The slots; clones share them.
#[derive(Debug, Clone)]
pub struct ScoringSlots {
    state: Arc<Mutex<State>>,
}

/// The right to run one R computation; dropping it passes it on.
#[derive(Debug)]
pub struct ScoringSlot {
    slots: ScoringSlots,
    holder: Holder,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    holders: u64,
    held: HashMap<Holder, usize>,
    /// In order of arrival.
    waiting: VecDeque<(Holder, oneshot::Sender<ScoringSlot>)>,
    /// Holders in the order of their last turn, oldest first.
    turns: VecDeque<Holder>,
}

impl ScoringSlots {
    /// `count` slots.
    pub fn new(count: usize) -> Self {
        Self { state: Arc::new(Mutex::new(State { free: count, ..State::default() })) }
    }

    /// A holder of its own for one model version.
    pub fn holder(&self) -> Holder {
        let mut state = self.lock();
        state.holders += 1;
        Holder(state.holders)
    }

    /// Slots that nobody holds.
    pub fn free(&self) -> usize {
        self.lock().free
    }

    /// Slots that somebody holds.
    pub fn busy(&self) -> usize {
        self.lock().held.values().sum()
    }

    /// Takes a slot if one is free.
    pub fn try_acquire(&self, holder: Holder) -> Option<ScoringSlot> {
        let mut state = self.lock();
        (state.free > 0).then(|| {
            state.free -= 1;
            self.grant(&mut state, holder)
        })
    }

    /// Waits for a slot. Dropping the future gives up the wait.
    pub async fn acquire(&self, holder: Holder) -> ScoringSlot {
        loop {
            let receiver = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return self.grant(&mut state, holder);
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back((holder, sender));
                receiver
            };
            if let Ok(slot) = receiver.await {
                return slot;
            }
        }
    }

    fn grant(&self, state: &mut State, holder: Holder) -> ScoringSlot {
        *state.held.entry(holder).or_default() += 1;
        state.turns.retain(|turn| *turn != holder);
        state.turns.push_back(holder);
        ScoringSlot { slots: self.clone(), holder }
    }

    fn release(&self, holder: Holder) {
        let undelivered;
        {
            let mut state = self.lock();
            if let Some(held) = state.held.get_mut(&holder) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(&holder);
                }
            }
            state.waiting.retain(|(_, sender)| !sender.is_closed());
            let Some(next) = next_turn(&state) else {
                state.free += 1;
                return;
            };
            let Some((holder, sender)) = state.waiting.remove(next) else { return };
            let slot = self.grant(&mut state, holder);
            undelivered = sender.send(slot).err();
        }
        // Who waited left in this moment: dropping its slot, outside of the lock,
        // passes it on.
        drop(undelivered);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Position of the one among those waiting whose turn it is.
fn next_turn(state: &State) -> Option<usize> {
    let key = |holder: &Holder| {
        let held = state.held.get(holder).copied().unwrap_or(0);
        let turn = state.turns.iter().position(|turn| turn == holder).map_or(0, |position| position + 1);
        (held, turn)
    };
    (0..state.waiting.len()).min_by_key(|position| key(&state.waiting[*position].0))
}

impl Drop for ScoringSlot {
    fn drop(&mut self) {
        self.slots.release(self.holder);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn slots_are_bounded() {
        let slots = ScoringSlots::new(1);
        let holder = slots.holder();
        let slot = slots.acquire(holder).await;
        assert_eq!(slots.free(), 0);
        assert!(slots.try_acquire(holder).is_none());
        let mut second = pin!(slots.acquire(holder));
        assert!(poll!(&mut second).is_pending());
        drop(slot);
        assert!(poll!(&mut second).is_ready());
        assert_eq!(slots.free(), 1, "the second slot was dropped with its result");
    }

    #[tokio::test]
    async fn a_flood_does_not_starve_another_model() {
        let slots = ScoringSlots::new(2);
        let (flooded, other) = (slots.holder(), slots.holder());
        let first = slots.acquire(flooded).await;
        let _second = slots.acquire(flooded).await;
        let mut more: Vec<_> = (0..3).map(|_| Box::pin(slots.acquire(flooded))).collect();
        for waiting in &mut more {
            assert!(poll!(waiting).is_pending());
        }
        let mut late = pin!(slots.acquire(other));
        assert!(poll!(&mut late).is_pending());
        drop(first);
        assert!(poll!(&mut late).is_ready(), "who holds none comes first, though it came last");
    }

    #[tokio::test]
    async fn who_leaves_passes_its_turn_on() {
        let slots = ScoringSlots::new(1);
        let (a, b) = (slots.holder(), slots.holder());
        let slot = slots.acquire(a).await;
        let mut leaving = Box::pin(slots.acquire(b));
        let mut staying = pin!(slots.acquire(a));
        assert!(poll!(&mut leaving).is_pending());
        assert!(poll!(&mut staying).is_pending());
        drop(leaving);
        drop(slot);
        assert!(poll!(&mut staying).is_ready());
    }

    #[tokio::test]
    async fn a_slot_that_was_sent_to_a_leaver_is_not_lost() {
        let slots = ScoringSlots::new(1);
        let holder = slots.holder();
        let slot = slots.acquire(holder).await;
        let mut leaving = Box::pin(slots.acquire(holder));
        assert!(poll!(&mut leaving).is_pending());
        // Sent while the receiver still exists, and dropped with it.
        drop(slot);
        drop(leaving);
        assert_eq!(slots.free(), 1);
    }
}
