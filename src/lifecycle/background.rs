//! Tasks that the server can't do without: those that keep pools filled, form
//! batches, watch the repository. When one of them panics, the rest would look
//! healthy and be half alive, so the whole server stops and says why; whoever
//! started it starts it again.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tells when such a task has panicked. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Background {
    failed: Arc<watch::Sender<Option<&'static str>>>,
}

impl Background {
    /// No task has panicked yet.
    pub fn new() -> Self {
        Self { failed: Arc::new(watch::Sender::new(None)) }
    }

    /// A future that ends when `task` does, and reports its panic.
    pub fn guard<T>(&self, name: &'static str, task: T) -> impl Future<Output = ()> + use<T>
    where
        T: Future<Output = ()>,
    {
        let failed = Arc::clone(&self.failed);
        async move {
            // What the task left behind is not used any more: the process ends.
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!("the {name} panicked, without which the server can't work: {}", text(panic.as_ref()));
                failed.send_modify(|failed| {
                    failed.get_or_insert(name);
                });
            }
        }
    }

    /// Runs a task whose panic is reported. Must be called within a runtime.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(self.guard(name, task))
    }

    /// Resolves with the name of the first task that panicked.
    pub async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        // The sender is alive in `self`, so the channel can't be closed.
        match failed.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// What a panic says.
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_and_an_end_is_not() {
        let background = Background::new();
        background.spawn("quiet task", async {}).await.expect("it ended");
        assert!(background.failed().now_or_never().is_none());
        background.spawn("first task", async { panic!("on {}", "purpose") }).await.expect("the panic was caught");
        background.spawn("second task", async { panic!("too") }).await.expect("the panic was caught");
        assert_eq!(background.failed().await, "first task");
        assert_eq!(background.clone().failed().await, "first task", "also for who asks late");
    }
}
