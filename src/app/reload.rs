//! Keeps what is served at what the repository has. One task looks at the
//! folder, takes up what is asked for, loads new generations beside those that
//! serve, and switches when they proved fit.

mod attempt;
mod looking;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::attempt::{Attempt, attempt};
use self::looking::Looking;
use self::turns::{Turn, Turns};
use super::generations::{Generation, Generations};
use crate::error::{Error, Kind, Result};
use crate::model::repository::Entry;
use crate::model::watch::{Change, Key, Snapshot, Watcher};
use crate::scoring::catalog::{Catalog, State};
use crate::scoring::independence::RowIndependence;
use crate::scoring::load::{LoadContext, LoadedVersion};
use crate::scoring::reload::{Asked, Command, Outcome};
use crate::telemetry::metrics;

/// What a reloader is made of.
pub(super) struct ReloaderParts {
    pub(super) context: Arc<LoadContext>,
    pub(super) catalog: Catalog,
    pub(super) generations: Generations,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// Set to true when every version of the start was loaded or refused.
    pub(super) loaded: watch::Sender<bool>,
}

/// The task's state; nobody else has it.
pub(super) struct Reloader {
    context: Arc<LoadContext>,
    catalog: Catalog,
    generations: Generations,
    inbox: mpsc::Receiver<Command>,
    loaded: watch::Sender<bool>,
    /// Versions of the start that are not loaded or refused yet.
    first: BTreeSet<Key>,
    watcher: Watcher,
    looking: Looking,
    next_look: Option<Instant>,
    /// What was passed over at the last look, to be said once.
    ignored: Vec<String>,
    turns: Turns,
    attempts: JoinSet<Ended>,
    running: BTreeMap<Key, Running>,
    started: u64,
    /// Number of each version's last generation.
    numbers: BTreeMap<Key, u64>,
}

/// A load under way.
struct Running {
    id: u64,
    abort: AbortHandle,
    waiting: Vec<oneshot::Sender<Outcome>>,
    /// What was asked for meanwhile; all of it becomes one load.
    next: Option<Next>,
}

/// A load that came to its end.
struct Ended {
    key: Key,
    id: u64,
    attempt: Attempt,
    turn: Turn,
}

struct Next {
    entry: Entry,
    forced: bool,
    waiting: Vec<oneshot::Sender<Outcome>>,
}

/// What an API call asks for, until the repository was looked at.
struct Ask {
    model: String,
    version: Option<u32>,
    answer: oneshot::Sender<Result<Vec<Asked>>>,
}

impl Reloader {
    /// Begins to load every version that a first look found.
    pub(super) fn new(parts: ReloaderParts, found: &Snapshot) -> Self {
        let ReloaderParts { context, catalog, generations, inbox, loaded } = parts;
        let models = &context.settings.models;
        let memory_is_limited = context.upkeep.sizing.memory.is_some();
        let turns = Turns::new(context.workers, memory_is_limited, generations.clone());
        let mut reloader = Self {
            watcher: Watcher::new(models.settle),
            looking: Looking::new(models.path.clone()),
            next_look: None,
            context,
            catalog,
            generations,
            inbox,
            loaded,
            first: BTreeSet::new(),
            ignored: Vec::new(),
            turns,
            attempts: JoinSet::new(),
            running: BTreeMap::new(),
            started: 0,
            numbers: BTreeMap::new(),
        };
        reloader.say_ignored(found);
        for (key, (entry, fingerprint)) in &found.versions {
            reloader.watcher.accept(key, *fingerprint);
            reloader.begin_first(key, entry);
        }
        for (key, (entry, _)) in &found.unknown {
            reloader.begin_first(key, entry);
        }
        reloader.plan_next_look();
        reloader.note_first_loaded();
        reloader
    }

    /// Runs until the handle that asks for reloads is gone, or this is dropped: then
    /// loads under way are given up, and their processes end.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(command) => self.take_up(command),
                    None => return,
                },
                () = due(self.next_look) => {
                    self.next_look = None;
                    self.looking.want();
                }
                (looked, asks) = self.looking.next() => self.looked(looked, asks),
                Some(ended) = self.attempts.join_next() => self.ended(ended),
            }
        }
    }

    fn begin_first(&mut self, key: &Key, entry: &Entry) {
        self.catalog.await_first(&key.0, key.1);
        self.first.insert(key.clone());
        self.begin(entry.clone(), false, Vec::new());
    }

    fn take_up(&mut self, command: Command) {
        match command {
            Command::Reload { model, version, answer } => self.looking.want_for(Ask { model, version, answer }),
            Command::Look => self.looking.want(),
            Command::Reread => {
                for (model, versions) in self.catalog.list() {
                    for (version, _) in versions {
                        let history = self.catalog.history(&model, version);
                        if history.is_some_and(|history| history.last_error.is_some()) {
                            self.watcher.forget(&(model.to_string(), version));
                        }
                    }
                }
                self.looking.want();
            }
        }
    }

    fn looked(&mut self, looked: std::io::Result<Snapshot>, asks: Vec<Ask>) {
        match looked {
            Ok(snapshot) => {
                self.say_ignored(&snapshot);
                for ask in asks {
                    let answer = self.answer(&ask, &snapshot);
                    // Who asked may have left.
                    let _ = ask.answer.send(answer);
                }
                for change in self.watcher.observe(&snapshot, std::time::Instant::now()) {
                    match change {
                        Change::Load(entry) => self.begin(entry, false, Vec::new()),
                        Change::Remove(key) => self.remove(&key),
                    }
                }
            }
            Err(error) => {
                let text = format!("the model repository can't be looked at, and what is served stays: {error}");
                for ask in asks {
                    let _ = ask.answer.send(Err(Error::new(Kind::Unavailable, text.clone())));
                }
                self.say(vec![text]);
            }
        }
        self.plan_next_look();
    }

    /// Begins what an API call asks for, and says what that is.
    fn answer(&mut self, ask: &Ask, snapshot: &Snapshot) -> Result<Vec<Asked>> {
        let wanted = |key: &Key| key.0 == ask.model && ask.version.is_none_or(|version| version == key.1);
        let there = snapshot.versions.iter().map(|(key, (entry, fingerprint))| (key, entry, Some(*fingerprint)));
        let unknown = snapshot.unknown.iter().map(|(key, (entry, _))| (key, entry, None));
        let mut asked = Vec::new();
        for (key, entry, fingerprint) in there.chain(unknown).filter(|(key, ..)| wanted(key)) {
            if let Some(fingerprint) = fingerprint {
                self.watcher.accept(key, fingerprint);
            }
            let (sender, outcome) = oneshot::channel();
            self.begin(entry.clone(), true, vec![sender]);
            asked.push(Asked { version: key.1, outcome });
        }
        // What the server has and the repository has not is gone.
        let served = self.catalog.versions(&ask.model).unwrap_or_default();
        for key in served.into_iter().map(|(version, _)| (ask.model.clone(), version)) {
            if wanted(&key) && !asked.iter().any(|asked| asked.version == key.1) {
                self.remove(&key);
                let (sender, outcome) = oneshot::channel();
                let _ = sender.send(Outcome::Removed);
                asked.push(Asked { version: key.1, outcome });
            }
        }
        match asked.is_empty() {
            true => Err(Error::new(
                Kind::NotFound,
                format!("neither the repository nor the server has that version of the model '{}'", ask.model),
            )),
            false => Ok(asked),
        }
    }

    /// Loads a version, or has it loaded again when the load under way is over.
    fn begin(&mut self, entry: Entry, forced: bool, waiting: Vec<oneshot::Sender<Outcome>>) {
        let key = (entry.model.clone(), entry.version);
        if let Some(running) = self.running.get_mut(&key) {
            let next = running.next.get_or_insert(Next { entry: entry.clone(), forced: false, waiting: Vec::new() });
            next.entry = entry;
            next.forced |= forced;
            next.waiting.extend(waiting);
            return;
        }
        self.catalog.begin(&key.0, key.1);
        self.started += 1;
        let id = self.started;
        let served = self.served_digest(&key);
        let (context, turns, task_key) = (self.context.clone(), self.turns.clone(), key.clone());
        let abort = self.attempts.spawn(async move {
            let turn = turns.take(&task_key, served.is_some()).await;
            let attempt = attempt(entry, served.filter(|_| !forced), &context).await;
            Ended { key: task_key, id, attempt, turn }
        });
        self.running.insert(key, Running { id, abort, waiting, next: None });
    }

    fn served_digest(&self, key: &Key) -> Option<String> {
        let versions = self.catalog.versions(&key.0).ok()?;
        versions.into_iter().find(|(version, _)| *version == key.1).and_then(|(_, state)| match state {
            State::Ready { info, .. } => Some(info.digest.clone()),
            State::Loading | State::Failed { .. } => None,
        })
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        // The turn lasts to the end of this: what is replaced is then on its way out.
        let Ended { key, id, attempt, turn: _turn } = match ended {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                // Nobody would know that this version is not being loaded any more.
                Ok(panic) => resume_unwind(panic),
                // Who is given up was removed from the books before.
                Err(_) => return,
            },
        };
        let Some(Running { waiting, next, .. }) = self.take_running(&key, id) else {
            if let Attempt::Loaded(loaded, _) = attempt {
                let stop = async move { loaded.pool.stop().await };
                self.context.background.spawn("end of a generation", stop);
            }
            return;
        };
        let outcome = match attempt {
            Attempt::Loaded(loaded, took) => self.switch(&key, *loaded, took),
            Attempt::Unchanged => self.unchanged(&key),
            Attempt::Failed(reason) => self.failed(&key, reason),
        };
        for waiting in waiting {
            let _ = waiting.send(outcome.clone());
        }
        self.first.remove(&key);
        self.note_first_loaded();
        if let Some(Next { entry, forced, waiting }) = next {
            self.begin(entry, forced, waiting);
        }
    }

    /// Takes a load off the books, unless it was given up.
    fn take_running(&mut self, key: &Key, id: u64) -> Option<Running> {
        self.running.get(key).filter(|running| running.id == id)?;
        self.running.remove(key)
    }

    /// Has requests go to what was loaded, and drains what served before.
    fn switch(&mut self, key: &Key, loaded: LoadedVersion, took: Duration) -> Outcome {
        let model = (&*key.0, key.1);
        let number = self.numbers.entry(key.clone()).and_modify(|number| *number += 1).or_insert(1);
        let generation = *number;
        let digest = loaded.info.digest.clone();
        say_loaded(key, generation, &loaded, took);
        metrics::model_loaded(model, &digest, took);
        metrics::generation(model, generation);
        metrics::reload(model, "loaded");
        let LoadedVersion { info, scorer, pool, released, .. } = loaded;
        self.generations.add(Generation::new(key.clone(), generation, digest.clone(), pool, &scorer, released));
        self.catalog.switch(model.0, model.1, generation, Arc::new(info), scorer);
        self.generations.retire(key, Some(generation), self.context.settings.models.drain_timeout);
        Outcome::Loaded { generation, digest }
    }

    fn unchanged(&self, key: &Key) -> Outcome {
        tracing::info!(model.name = %key.0, model.version = key.1, "the files changed and their contents did not");
        metrics::reload((&key.0, key.1), "unchanged");
        self.catalog.unchanged(&key.0, key.1);
        Outcome::Unchanged
    }

    fn failed(&self, key: &Key, reason: String) -> Outcome {
        let goes_on = match self.served_digest(key) {
            Some(_) => "; the generation before it goes on serving",
            None => "",
        };
        tracing::error!(
            model.name = %key.0,
            model.version = key.1,
            "model could not be loaded{goes_on}: {reason}"
        );
        metrics::reload((&key.0, key.1), "failed");
        self.catalog.fail(&key.0, key.1, &reason);
        Outcome::Failed { reason }
    }

    /// Ends a version whose folder is gone.
    fn remove(&mut self, key: &Key) {
        if let Some(Running { abort, waiting, next, .. }) = self.running.remove(key) {
            abort.abort();
            for waiting in waiting.into_iter().chain(next.into_iter().flat_map(|next| next.waiting)) {
                let _ = waiting.send(Outcome::Removed);
            }
        }
        if self.catalog.remove(&key.0, key.1) {
            tracing::info!(model.name = %key.0, model.version = key.1, "its folder is gone, and so is the version");
            metrics::generation((&key.0, key.1), 0);
            metrics::reload((&key.0, key.1), "removed");
        }
        self.generations.retire(key, None, self.context.settings.models.drain_timeout);
        self.first.remove(key);
        self.note_first_loaded();
    }

    fn note_first_loaded(&self) {
        if self.first.is_empty() {
            self.loaded.send_if_modified(|loaded| !std::mem::replace(loaded, true));
        }
    }

    fn plan_next_look(&mut self) {
        let models = &self.context.settings.models;
        let pause = match (models.poll_interval, self.watcher.is_unsettled()) {
            (Duration::ZERO, false) => None,
            (Duration::ZERO, true) => Some(models.settle),
            (interval, false) => Some(interval),
            (interval, true) => Some(interval.min(models.settle)),
        };
        self.next_look = pause.map(|pause| Instant::now() + pause);
    }

    fn say_ignored(&mut self, snapshot: &Snapshot) {
        let unknown = snapshot.unknown.values().map(|(entry, why)| format!("{}: {why}", entry.directory.display()));
        let ignored = snapshot.ignored.iter().cloned().chain(unknown);
        self.say(ignored.map(|text| format!("passed over {text}")).collect());
    }

    /// Warns of what was not warned of at the last look.
    fn say(&mut self, texts: Vec<String>) {
        for text in texts.iter().filter(|text| !self.ignored.contains(text)) {
            tracing::warn!("{text}");
        }
        self.ignored = texts;
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn say_loaded((model, version): &Key, generation: u64, loaded: &LoadedVersion, took: Duration) {
    tracing::info!(
        model.name = %model,
        model.version = version,
        model.digest = %loaded.info.digest,
        "model loaded in {} ms as generation {generation}: class {}, R {}",
        took.as_millis(),
        loaded.info.class.join("/"),
        loaded.r_version
    );
    for warning in &loaded.warnings {
        tracing::warn!(model.name = %model, model.version = version, "model loaded with a warning: {warning}");
    }
    if let RowIndependence::NotProved { reason } = &loaded.info.row_independence {
        tracing::warn!(model.name = %model, model.version = version, "requests are scored one by one: {reason}");
    }
}
