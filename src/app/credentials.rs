//! Certificate and token keys while the server runs: read again when their
//! files change, as Kubernetes exchanges the files of a secret, or when told to.
//! Files that are wrong change nothing but the log.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::auth::Verifier;
use crate::config::Settings;
use crate::model::watch::stamp;
use crate::telemetry::metrics;
use crate::tls::ServerCertificate;

/// What proves the server to callers, and callers to the server. Clones share it.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Certificate and key; callers are served over plain HTTP without.
    pub certificate: Option<Arc<ServerCertificate>>,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
}

/// The files of one credential, and what they looked like when they were read.
struct Watched {
    name: &'static str,
    files: Vec<PathBuf>,
    stamps: Vec<Option<[u64; 4]>>,
    /// Why they could not be used at the last try, until they can.
    failure: Option<String>,
}

impl Credentials {
    /// Sets the metric that warns of the certificate's end.
    pub(super) fn publish_expiry(&self) {
        if let Some(certificate) = &self.certificate {
            metrics::certificate_expiry(certificate.expiry());
        }
    }

    /// Reads what changed, each interval and whenever `now` is notified. Runs for
    /// ever.
    pub(super) async fn watch(self, settings: Settings, now: Arc<Notify>) {
        let certificate = [&settings.tls.certificate, &settings.tls.key].into_iter().flatten().cloned().collect();
        let keys = settings.auth.keys.iter().chain(&settings.auth.hs256_secret_file).cloned().collect();
        let mut certificate = Watched::new("certificate", certificate);
        let mut keys = Watched::new("keys", keys);
        loop {
            let asked = tokio::select! {
                () = pause(settings.server.credentials_interval) => false,
                () = now.notified() => true,
            };
            let credentials = self.clone();
            let looked = spawn_blocking(move || {
                if let Some(server) = &credentials.certificate {
                    certificate.read_if_changed(asked, || server.reload().map_err(|error| error.to_string()));
                }
                keys.read_if_changed(asked, || credentials.verifier.reload().map_err(|error| error.to_string()));
                (certificate, keys)
            });
            match looked.await {
                Ok(looked) => (certificate, keys) = looked,
                // A defect that must not go unnoticed.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
            self.publish_expiry();
        }
    }
}

impl Watched {
    fn new(name: &'static str, files: Vec<PathBuf>) -> Self {
        let stamps = stamps(&files);
        Self { name, files, stamps, failure: None }
    }

    fn read_if_changed(&mut self, asked: bool, read: impl FnOnce() -> Result<(), String>) {
        // Before they are read: what is written meanwhile is seen at the next look.
        let stamps = stamps(&self.files);
        let is_changed = stamps != self.stamps;
        // What made them unusable may show in no stamp: rights that were missing, a
        // volume that was away. So they are tried until they can be used.
        if !asked && !is_changed && self.failure.is_none() {
            return;
        }
        self.stamps = stamps;
        match read() {
            Ok(()) => {
                self.failure = None;
                tracing::info!("the {} in use was read again", self.name);
                metrics::credential_reload(self.name, "loaded");
            }
            // Said once.
            Err(error) if !asked && !is_changed && self.failure.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!("the {} stays as it was, for its files can't be used: {error}", self.name);
                metrics::credential_reload(self.name, "failed");
                self.failure = Some(error);
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<[u64; 4]>> {
    files.iter().map(|file: &PathBuf| file_stamp(file)).collect()
}

fn file_stamp(file: &Path) -> Option<[u64; 4]> {
    file.metadata().ok().map(|metadata| stamp(&metadata))
}

async fn pause(interval: Duration) {
    match interval {
        Duration::ZERO => pending().await,
        interval => tokio::time::sleep(interval).await,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn files_that_could_not_be_used_are_tried_until_they_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.pem");
        std::fs::write(&file, "one").unwrap();
        let mut watched = Watched::new("certificate", vec![file.clone()]);
        let mut look = |asked: bool, outcome: Result<(), &str>| {
            let mut was_read = false;
            watched.read_if_changed(asked, || {
                was_read = true;
                outcome.map_err(str::to_owned)
            });
            was_read
        };
        assert!(!look(false, Ok(())), "nothing changed");
        assert!(look(true, Ok(())));
        std::fs::write(&file, "three").unwrap();
        assert!(look(false, Err("permission denied")));
        assert!(look(false, Err("permission denied")), "rights change no stamp");
        assert!(look(false, Ok(())));
        assert!(!look(false, Ok(())));
    }
}
