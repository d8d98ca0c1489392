//! Looks at the repository beside the task that wants to know: a network file
//! system may take its time, and meanwhile loads end and calls come in. There
//! is one look at a time; who asks during one gets the next, for the one under
//! way may have passed the files in question already.

use std::future::pending;
use std::io;
use std::path::PathBuf;

use tokio::task::{JoinHandle, spawn_blocking};

use super::Ask;
use crate::model::watch::{self, Snapshot};

pub(super) struct Looking {
    root: PathBuf,
    under_way: Option<(JoinHandle<io::Result<Snapshot>>, Vec<Ask>)>,
    wanted: bool,
    asks: Vec<Ask>,
}

impl Looking {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, under_way: None, wanted: false, asks: Vec::new() }
    }

    /// Has the repository looked at from now on.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// As [`Looking::want`], for somebody who gets what was seen.
    pub(super) fn want_for(&mut self, ask: Ask) {
        self.asks.push(ask);
        self.wanted = true;
    }

    /// What the next look sees, and who asked for it. Nothing is lost when the
    /// future is dropped.
    pub(super) async fn next(&mut self) -> (io::Result<Snapshot>, Vec<Ask>) {
        if self.under_way.is_none() && self.wanted {
            self.wanted = false;
            let root = self.root.clone();
            self.under_way = Some((spawn_blocking(move || watch::look(&root)), std::mem::take(&mut self.asks)));
        }
        let Some((look, _)) = &mut self.under_way else { return pending().await };
        let looked = look.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let asks = self.under_way.take().map(|(_, asks)| asks).unwrap_or_default();
        (looked, asks)
    }
}
