//! Keeps a pool supplied with a zygote that answers. It is asked now and then
//! whether it still does, so that one that hangs is noticed before a worker has
//! to be forked; when it has ended, another one loads the model beside the
//! workers, which go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::PoolSettings;
use super::breaker::Breaker;
use super::health::{HealthRecord, ZygoteState};
use super::ledger::Ledger;
use super::zygote::{Event, Zygote, ZygoteSlot};
use crate::telemetry::metrics::{self, ZygoteDeath};

/// A zygote that lived for so long is no failed one, even if it never forked.
const PROVED_AGE: Duration = Duration::from_secs(60);

/// Handle of the task that looks after a pool's zygote; ends with it.
pub(super) struct Keeper {
    task: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn spawn(
        settings: Arc<PoolSettings>,
        slot: Arc<ZygoteSlot>,
        ledger: Ledger,
        health: Arc<HealthRecord>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let keep = Keep { settings, slot, ledger, health, events };
        keep.publish();
        let background = keep.settings.background.clone();
        Self { task: background.spawn("keeper of a zygote", async move { keep.run().await }) }
    }

    /// Ends the task; the zygote stays as it is.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Keep {
    settings: Arc<PoolSettings>,
    slot: Arc<ZygoteSlot>,
    ledger: Ledger,
    health: Arc<HealthRecord>,
    events: mpsc::UnboundedSender<Event>,
}

impl Keep {
    async fn run(&self) {
        let mut breaker = Breaker::default();
        loop {
            let zygote = self.slot.current();
            self.watch(&zygote).await;
            let death = if zygote.was_given_up() { ZygoteDeath::Hung } else { ZygoteDeath::Crashed };
            metrics::zygote_died(self.model(), death);
            let what = match death {
                ZygoteDeath::Hung => "the zygote did not answer in time and was killed",
                ZygoteDeath::Crashed => "the zygote ended",
            };
            tracing::error!(
                model.name = %self.settings.model,
                model.version = self.settings.version,
                "{what}; its workers go on while another one loads"
            );
            self.health.zygote_failed(what.to_owned());
            // One that was of use is replaced at once; one that ends again and again
            // before it forks would keep a core busy with nothing but loading.
            if zygote.has_forked() || zygote.age() >= PROVED_AGE {
                breaker.succeeded();
                self.note(ZygoteState::Restarting);
            } else {
                self.wait_after_failure(&mut breaker).await;
            }
            self.revive(&mut breaker).await;
        }
    }

    /// Resolves when the zygote has ended, which it is made to when it hangs.
    async fn watch(&self, zygote: &Zygote) {
        let patience = self.settings.upkeep.zygote_timeout;
        let mut pings = interval(patience / 2);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = zygote.ended() => return,
                _ = pings.tick() => {}
            }
            // One that fails has killed the zygote, or found it dead.
            let _ = zygote.ping().await;
        }
    }

    async fn revive(&self, breaker: &mut Breaker) {
        loop {
            match Zygote::start(&self.settings, &self.events, &self.ledger).await {
                Ok((zygote, _)) => {
                    self.slot.replace(zygote);
                    self.health.zygote_restarted();
                    self.publish();
                    tracing::info!(
                        model.name = %self.settings.model,
                        model.version = self.settings.version,
                        "another zygote has loaded the model and forks from now on"
                    );
                    let _ = self.events.send(Event::Refill);
                    return;
                }
                Err(error) => {
                    metrics::zygote_start_failed(self.model());
                    tracing::error!(
                        model.name = %self.settings.model,
                        model.version = self.settings.version,
                        error = %error,
                        "another zygote could not be started"
                    );
                    self.health.zygote_failed(error.to_string());
                    self.wait_after_failure(breaker).await;
                }
            }
        }
    }

    async fn wait_after_failure(&self, breaker: &mut Breaker) {
        let was_open = breaker.is_open();
        let pause = breaker.failed();
        self.note(if breaker.is_open() { ZygoteState::Broken } else { ZygoteState::Restarting });
        if breaker.is_open() && !was_open {
            tracing::error!(
                model.name = %self.settings.model,
                model.version = self.settings.version,
                "the zygote failed {} times in a row; it is tried now and then, and requests are refused at once when no \
                 worker is left",
                breaker.failures()
            );
            // Those that wait are told as well.
            let _ = self.events.send(Event::Refill);
        }
        sleep(pause).await;
    }

    fn note(&self, state: ZygoteState) {
        self.health.zygote_is(state);
        self.publish();
    }

    fn publish(&self) {
        let state = self.health.read(0).zygote;
        metrics::zygote(self.model(), state == ZygoteState::Ready, state == ZygoteState::Broken);
    }

    fn model(&self) -> (&str, u32) {
        (&self.settings.model, self.settings.version)
    }
}
