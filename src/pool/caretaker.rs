//! Looks after idle workers: what a pool does to a worker when it comes back is
//! done here, every now and then, for those that nobody asks for.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Pool;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::PoolSettings;
use super::manager::Manager;
use super::supervisor::visit_idle;
use super::upkeep::Upkeep;

/// Shortest and longest time between two looks.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Handle of the task that looks after a pool's idle workers; ends with it.
pub(super) struct Caretaker {
    task: Option<JoinHandle<()>>,
}

impl Caretaker {
    /// Starts the task, where there is anything to look after.
    pub(super) fn spawn(settings: Arc<PoolSettings>, workers: Pool<Manager>) -> Self {
        let task = period(&settings.upkeep).map(|period| tokio::spawn(look_after(workers, period)));
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
    let shortest = [upkeep.max_age, memory].into_iter().filter(|limit| !limit.is_zero()).min()?;
    Some((shortest / 2).clamp(SHORTEST, LONGEST))
}

async fn look_after(workers: Pool<Manager>, period: Duration) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        visit_idle(&workers).await;
    }
}
