//! A store in memory that misbehaves as real ones do, and the way to it that a
//! process can be cut from.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::batch::objects::{Answer, Created, Listed, Objects, StoreTrouble};

/// How often what goes wrong, in percent of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// The request is done and its reply is lost.
    pub lost_reply: u32,
    /// The request is not done, and fails.
    pub failed: u32,
    /// "It exists" is answered and nothing was written.
    pub false_exists: u32,
    /// The client sends the request again by itself, and reports the second answer.
    pub repeated: u32,
}

/// Objects in memory.
pub struct SimulatedStore {
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    objects: BTreeMap<String, Bytes>,
    /// Objects that came from a create-if-absent.
    created: HashSet<String>,
    overwritten: bool,
    random: u64,
}

impl SimulatedStore {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State { objects: BTreeMap::new(), created: HashSet::new(), overwritten: false, random: seed | 1 };
        Self { faults, state: Mutex::new(state) }
    }

    /// A store without faults.
    pub fn holding(objects: BTreeMap<String, Bytes>) -> Self {
        let store = Self::new(1, Faults { lost_reply: 0, failed: 0, false_exists: 0, repeated: 0 });
        store.lock().objects = objects;
        store
    }

    pub fn contents(&self) -> BTreeMap<String, Bytes> {
        self.lock().objects.clone()
    }

    pub fn no_created_object_was_overwritten(&self) -> bool {
        !self.lock().overwritten
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A number below a bound (xorshift; Marsaglia, "Xorshift RNGs", 2003).
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.draw(100) < u64::from(percent)
    }

    fn create(&mut self, path: &str, bytes: &Bytes) -> Created {
        if self.objects.contains_key(path) {
            return Created::Exists;
        }
        self.objects.insert(path.to_owned(), bytes.clone());
        self.created.insert(path.to_owned());
        Created::New
    }
}

/// One process's way to the store.
pub struct Link {
    store: Arc<SimulatedStore>,
    state: Mutex<LinkState>,
}

struct LinkState {
    cut: bool,
    still_until: Option<Instant>,
}

impl Link {
    pub fn new(store: Arc<SimulatedStore>) -> Self {
        Self { store, state: Mutex::new(LinkState { cut: false, still_until: None }) }
    }

    /// From now on nothing gets through.
    pub fn cut(&self) {
        self.lock().cut = true;
    }

    /// The process stands still for so long.
    pub fn stand_still(&self, duration: Duration) {
        self.lock().still_until = Some(Instant::now() + duration);
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process does nothing between two requests but wait; so it stands still here.
    async fn travel(&self) {
        loop {
            let delay = Duration::from_millis(self.store.lock().draw(200));
            tokio::time::sleep(delay).await;
            let (cut, still) = {
                let state = self.lock();
                (state.cut, state.still_until.filter(|until| *until > Instant::now()))
            };
            if cut {
                std::future::pending::<()>().await;
            }
            match still {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// There and back again, with all that may go wrong.
    async fn request<T>(&self, mut apply: impl FnMut(&mut State) -> T) -> Result<T, StoreTrouble> {
        self.travel().await;
        let (answer, lost) = {
            let mut state = self.store.lock();
            let faults = self.store.faults;
            if state.happens(faults.failed) {
                (Err(StoreTrouble::new("the store failed".to_owned())), false)
            } else {
                let mut answer = apply(&mut state);
                if state.happens(faults.repeated) {
                    answer = apply(&mut state);
                }
                (Ok(answer), state.happens(faults.lost_reply))
            }
        };
        self.travel().await;
        if lost { Err(StoreTrouble::new("the reply was lost".to_owned())) } else { answer }
    }

    fn answer<'a, T: Send + 'a>(future: impl Future<Output = Result<T, StoreTrouble>> + Send + 'a) -> Answer<'a, T> {
        Box::pin(future)
    }
}

impl Objects for Link {
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, Created> {
        Self::answer(async move {
            let false_exists = {
                let percent = self.store.faults.false_exists;
                self.store.lock().happens(percent)
            };
            if false_exists {
                self.travel().await;
                return Ok(Created::Exists);
            }
            self.request(|state| state.create(path, &bytes)).await
        })
    }

    fn write<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Self::answer(self.request(move |state| {
            state.overwritten |= state.created.contains(path);
            state.objects.insert(path.to_owned(), bytes.clone());
        }))
    }

    fn read<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Bytes>> {
        Self::answer(self.request(move |state| state.objects.get(path).cloned()))
    }

    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
        Self::answer(self.request(move |state| {
            let from = state.objects.range(folder.to_owned()..);
            from.take_while(|(path, _)| path.starts_with(folder))
                .map(|(path, bytes)| Listed { path: path.clone(), size: bytes.len() as u64 })
                .collect()
        }))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Self::answer(self.request(move |state| {
            state.overwritten |= state.created.contains(path);
            state.objects.remove(path);
        }))
    }
}
