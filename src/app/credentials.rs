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

/// What proves the server to callers, and callers to the server.
#[derive(Debug)]
pub struct Credentials {
    /// Certificate and key; callers are served over plain HTTP without.
    pub(super) certificate: Option<Arc<ServerCertificate>>,
    /// Verifies tokens.
    pub(super) verifier: Arc<Verifier>,
    certificate_files: Watched,
    key_files: Watched,
}

/// The files of one credential, and what they looked like when they were read.
#[derive(Debug)]
struct Watched {
    name: &'static str,
    files: Vec<PathBuf>,
    stamps: Vec<Option<[u64; 4]>>,
    /// Why they could not be used at the last try, until they can.
    failure: Option<String>,
}

impl Credentials {
    /// Reads certificate and keys.
    ///
    /// # Errors
    /// All that is wrong with either, in lines.
    pub fn read(settings: &Settings) -> Result<Self, String> {
        let certificate_files = [&settings.tls.certificate, &settings.tls.key].into_iter().flatten().cloned();
        let key_files = settings.auth.keys.iter().chain(&settings.auth.hs256_secret_file).cloned();
        // Before they are read: what is written meanwhile is seen at the first look.
        let certificate_files = Watched::new("certificate", certificate_files.collect());
        let key_files = Watched::new("keys", key_files.collect());
        let verifier = Verifier::from_settings(&settings.auth).map_err(|error| error.to_string());
        let certificate = match settings.server.insecure_http {
            true => Ok(None),
            false => ServerCertificate::load(&settings.tls).map(Some).map_err(|error| error.to_string()),
        };
        match (certificate, verifier) {
            (Ok(certificate), Ok(verifier)) => Ok(Self {
                certificate: certificate.map(Arc::new),
                verifier: Arc::new(verifier),
                certificate_files,
                key_files,
            }),
            (certificate, verifier) => {
                Err([certificate.err(), verifier.err()].into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// Sets the metric that warns of the certificate's end.
    pub(super) fn publish_expiry(&self) {
        if let Some(certificate) = &self.certificate {
            metrics::certificate_expiry(certificate.expiry());
        }
    }

    /// Reads what changed, each interval and whenever `now` is notified. Runs for
    /// ever.
    pub(super) async fn watch(mut self, interval: Duration, now: Arc<Notify>) {
        loop {
            let asked = tokio::select! {
                () = pause(interval) => false,
                () = now.notified() => true,
            };
            let looked = spawn_blocking(move || {
                self.look(asked);
                self
            });
            match looked.await {
                Ok(looked) => self = looked,
                // A defect that must not go unnoticed.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
            self.publish_expiry();
        }
    }

    fn look(&mut self, asked: bool) {
        if let Some(certificate) = &self.certificate {
            let read = || certificate.reload().map_err(|error| error.to_string());
            self.certificate_files.read_if_changed(asked, read);
        }
        self.key_files.read_if_changed(asked, || self.verifier.reload().map_err(|error| error.to_string()));
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
    use crate::auth::mint::Minter;
    use crate::auth::scope::Grant;
    use crate::config::settings::AuthSettings;
    use crate::tls::development::prepare;

    #[test]
    fn what_is_exchanged_after_it_was_read_is_seen_at_the_first_look() {
        let folder = tempfile::tempdir().unwrap();
        let [first, next] = ["first", "next"].map(|name| prepare(&folder.path().join(name)).unwrap());
        let mut settings = Settings::default();
        settings.apply_development_files(
            first.certificate.clone(),
            first.key.clone(),
            first.verification_key.clone(),
            first.signing_key.clone(),
        );
        let mut credentials = Credentials::read(&settings).unwrap();
        let token = |signing_key: &Path| {
            let auth = AuthSettings { signing_key: Some(signing_key.to_owned()), ..AuthSettings::default() };
            let grants: [Grant; 1] = ["models:read".parse().unwrap()];
            Minter::from_settings(&auth).unwrap().mint("tester", &grants, Duration::from_secs(600)).unwrap()
        };
        let (old, new) = (token(&first.signing_key), token(&next.signing_key));
        assert!(credentials.verifier.verify(&old).is_ok() && credentials.verifier.verify(&new).is_err());
        // Nobody has looked for changes yet. Half an exchange of the certificate tells of itself.
        std::fs::rename(&next.verification_key, &first.verification_key).unwrap();
        std::fs::rename(&next.certificate, &first.certificate).unwrap();
        credentials.look(false);
        assert!(credentials.verifier.verify(&old).is_err() && credentials.verifier.verify(&new).is_ok());
        assert!(credentials.certificate_files.failure.is_some());
    }

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
