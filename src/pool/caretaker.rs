//! Looks after idle workers: what a pool does to a worker when it comes back is
//! done here, every now and then, for those that nobody asks for.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, Timeouts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::PoolSettings;
use super::manager::Manager;
use super::supervisor::visit_idle;
use super::upkeep::Upkeep;
use super::zygote::Event;
use crate::telemetry::metrics::DeathReason;

/// Shortest and longest time between two looks.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// How long a collection may take before the worker counts as hung. It is nothing
/// that anybody waits for, so this is generous: some heaps are large.
const COLLECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Handle of the task that looks after a pool's idle workers; ends with it.
pub(super) struct Caretaker {
    task: Option<JoinHandle<()>>,
}

impl Caretaker {
    /// Starts the task, where there is anything to look after.
    pub(super) fn spawn(
        settings: Arc<PoolSettings>,
        workers: Pool<Manager>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let task = period(&settings.upkeep).map(|period| {
            let care = Care { settings, workers, events };
            let background = care.settings.background.clone();
            background.spawn("caretaker of a pool", async move { care.run(period).await })
        });
        Self { task }
    }

    /// Ends the task.
    pub(super) fn stop(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How often idle workers are looked at; never when time changes nothing for them.
fn period(upkeep: &Upkeep) -> Option<Duration> {
    let memory = if upkeep.max_rss_bytes > 0 { LONGEST } else { Duration::ZERO };
    let shortest = [upkeep.max_age, upkeep.idle_collect, memory].into_iter().filter(|limit| !limit.is_zero()).min()?;
    Some((shortest / 2).clamp(SHORTEST, LONGEST))
}

struct Care {
    settings: Arc<PoolSettings>,
    workers: Pool<Manager>,
    events: mpsc::UnboundedSender<Event>,
}

impl Care {
    async fn run(&self, period: Duration) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            visit_idle(&self.workers).await;
            self.collect().await;
        }
    }

    /// Has idle workers collect garbage, one at a time: a request that comes
    /// meanwhile finds the others, and nothing more is begun while one waits.
    async fn collect(&self) {
        while self.workers.status().waiting == 0 {
            let Some(mut worker) = self.reserve_for_collection().await else { return };
            match timeout(COLLECTION_TIMEOUT, worker.collect()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.discard(worker, DeathReason::Crashed),
                Err(_) => self.discard(worker, DeathReason::TimedOut),
            }
        }
    }

    /// An idle worker that has something to collect; others are held for no longer
    /// than it takes to look at them.
    async fn reserve_for_collection(&self) -> Option<Object<Manager>> {
        let at_once = Timeouts { wait: Some(Duration::ZERO), ..Timeouts::default() };
        let mut others = Vec::new();
        for _ in 0..self.workers.status().available {
            let worker = self.workers.timeout_get(&at_once).await.ok()?;
            if worker.may_collect(self.settings.upkeep.idle_collect) {
                return Some(worker);
            }
            others.push(worker);
        }
        None
    }

    fn discard(&self, worker: Object<Manager>, reason: DeathReason) {
        Object::take(worker).end(reason);
        let _ = self.events.send(Event::Refill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_workers_are_looked_at_as_often_as_their_bounds_need() {
        let with = |max_age, idle_collect, max_rss_bytes| {
            period(&Upkeep {
                max_age: Duration::from_millis(max_age),
                idle_collect: Duration::from_millis(idle_collect),
                max_rss_bytes,
                ..Upkeep::default()
            })
        };
        assert_eq!(with(0, 0, 0), None);
        assert_eq!(with(3_600_000, 0, 0), Some(LONGEST));
        assert_eq!(with(3_600_000, 400, 0), Some(Duration::from_millis(200)));
        assert_eq!(with(0, 1, 0), Some(SHORTEST));
        assert_eq!(with(0, 0, 1), Some(LONGEST / 2));
    }
}
