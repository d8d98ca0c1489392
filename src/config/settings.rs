//! Every setting of the server, one struct per section of `rscore.toml`, with
//! its default. The text that explains each is in `config/reference.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Listeners and connections.
    pub server: ServerSettings,
    /// The server's certificate.
    pub tls: TlsSettings,
    /// Who may call.
    pub auth: AuthSettings,
    /// What is served.
    pub models: ModelSettings,
    /// How blob storage is spoken to.
    pub store: StoreSettings,
    /// The processes that run R.
    pub workers: WorkerSettings,
    /// How concurrent requests share calls of R.
    pub batching: BatchingSettings,
    /// Bounds on requests.
    pub limits: LimitSettings,
    /// What is written to standard error.
    pub log: LogSettings,
    /// What is sent to an OpenTelemetry collector.
    pub traces: TraceSettings,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Address of the callers' listener.
    pub listen: SocketAddr,
    /// Address of the operator's listener.
    pub admin_listen: SocketAddr,
    /// Serve callers over plain HTTP, for a pod behind a mesh.
    pub insecure_http: bool,
    /// Threads that serve HTTP; 0 means one per core.
    pub threads: usize,
    /// Connections that may be open at once.
    pub max_connections: usize,
    /// How long an idle connection is kept.
    #[serde(with = "super::duration")]
    pub keep_alive: Duration,
    /// How long the request head and a TLS handshake may take.
    #[serde(with = "super::duration")]
    pub head_timeout: Duration,
    /// How long the body may take.
    #[serde(with = "super::duration")]
    pub body_timeout: Duration,
    /// How long a caller may take for a piece of its answer.
    #[serde(with = "super::duration")]
    pub write_timeout: Duration,
    /// How long a server that was asked to stop goes on taking requests, while
    /// its readiness says no.
    #[serde(with = "super::duration")]
    pub shutdown_delay: Duration,
    /// How long a stop may take, until requests that are not answered are lost.
    #[serde(with = "super::duration")]
    pub drain_timeout: Duration,
    /// How often the files of certificate and keys are looked at; zero means only
    /// at SIGHUP.
    #[serde(with = "super::duration")]
    pub credentials_interval: Duration,
    /// Whether callers see the message of an R error.
    pub expose_model_errors: bool,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file: the certificate chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM file: the private key.
    pub key: Option<PathBuf>,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Files with keys that verify tokens: PEM public keys or JWK sets.
    pub keys: Vec<PathBuf>,
    /// File with the shared secret of HS256 tokens; HS256 is off without it.
    pub hs256_secret_file: Option<PathBuf>,
    /// File with the private key that `rscore token` signs with.
    pub signing_key: Option<PathBuf>,
    /// The `iss` that tokens must carry.
    pub issuer: Option<String>,
    /// The `aud` that tokens must carry.
    pub audience: Option<String>,
    /// Allowance for clocks that differ, on `exp` and `nbf`.
    #[serde(with = "super::duration")]
    pub leeway: Duration,
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The model repository: a folder with a folder per model, or the URL of one in
    /// blob storage.
    pub path: PathBuf,
    /// Where models from blob storage are kept.
    pub cache: PathBuf,
    /// How often blob storage is looked at for changes.
    #[serde(with = "super::duration")]
    pub fetch_interval: Duration,
    /// Files that are fetched at once.
    pub fetch_concurrency: usize,
    /// Most objects that a repository in blob storage may have.
    pub max_files: usize,
    /// Largest version that is fetched, in bytes.
    pub max_version_bytes: usize,
    /// Whether one model that can't be loaded makes the server unready.
    pub require_all: bool,
    /// How often the repository is looked at for changes; zero means only when
    /// asked to.
    #[serde(with = "super::duration")]
    pub poll_interval: Duration,
    /// How long a changed folder must look the same before it is loaded.
    #[serde(with = "super::duration")]
    pub settle: Duration,
    /// How long requests of a generation that was replaced may go on.
    #[serde(with = "super::duration")]
    pub drain_timeout: Duration,
    /// How long loading one version may take.
    #[serde(with = "super::duration")]
    pub load_timeout: Duration,
    /// Longest time for a request, where the manifest says nothing.
    #[serde(with = "super::duration")]
    pub timeout: Duration,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// How long connecting to a store may take.
    #[serde(with = "super::duration")]
    pub connect_timeout: Duration,
    /// How long a store may take to answer, and between bytes of its answer.
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// How often a request is sent again.
    pub max_retries: usize,
    /// How long after its first attempt a request is still sent again.
    #[serde(with = "super::duration")]
    pub retry_timeout: Duration,
    /// Whether a local file counts as written only when the disk has it.
    pub sync_files: bool,
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// R computations that run at once over all models, and workers per model
    /// version; 0 means one per core.
    pub count: usize,
    /// Threads that BLAS and OpenMP may use within one worker.
    pub math_threads: usize,
    /// Calls after which a worker is replaced by a fresh one; 0 means never.
    pub max_calls: usize,
    /// Garbage collections after which a worker is replaced; 0 means no limit.
    pub max_collections: usize,
    /// Resident memory, in bytes, above which a worker is replaced; 0 means never.
    pub max_rss_bytes: usize,
    /// Bytes by which a worker may grow before its allocations fail; 0 means no
    /// bound.
    pub max_growth_bytes: usize,
    /// Age after which a worker is replaced; zero means never.
    #[serde(with = "super::duration")]
    pub max_age: Duration,
    /// How long a worker must have been idle before it collects garbage; zero means
    /// never.
    #[serde(with = "super::duration")]
    pub idle_collect: Duration,
    /// How long R has to stop after it was interrupted at a request's deadline,
    /// before its worker is killed.
    #[serde(with = "super::duration")]
    pub interrupt_grace: Duration,
    /// How long a zygote may take to fork a worker or to say that it can, before it
    /// counts as hung and is replaced.
    #[serde(with = "super::duration")]
    pub zygote_timeout: Duration,
    /// Lines that R prints which are logged in a second, per model version and stream.
    pub output_lines_per_second: usize,
    /// Names of environment variables that model code may see, beside the few
    /// that R needs.
    pub environment: Vec<String>,
}

/// `[batching]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingSettings {
    /// Most rows of one call.
    pub max_rows: usize,
    /// How long one call should take at most; larger batches are not formed.
    #[serde(with = "super::duration")]
    pub target_latency: Duration,
    /// How long a free worker waits for more rows; zero starts at once.
    #[serde(with = "super::duration")]
    pub max_delay: Duration,
    /// Fewest rows of a part when a large request is split over free workers.
    pub split_rows: usize,
    /// One call in so many of several rows is scored again row by row; 0 means none.
    pub audit_every: u64,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Largest body, after decompression too, in bytes.
    pub max_body_bytes: usize,
    /// Most rows of one request.
    pub max_rows: usize,
    /// Longest row of CSV or NDJSON, in bytes.
    pub max_record_bytes: usize,
    /// Most bytes of a body that is scored piece by piece, after decompression too.
    pub max_stream_bytes: usize,
    /// Rows of such a body that are scored together.
    pub stream_rows: usize,
    /// Bytes per second that such a body must bring.
    pub min_stream_rate: usize,
    /// Most requests that are accepted and not yet answered.
    pub max_requests: usize,
    /// Most requests that wait for a worker of one model version.
    pub max_queued_requests: usize,
    /// Most rows that wait for a worker of one model version.
    pub max_queued_rows: usize,
    /// Most bytes of columns that wait for a worker of one model version.
    pub max_queued_bytes: usize,
    /// Longest wait for a worker; zero means that it is not bounded.
    #[serde(with = "super::duration")]
    pub max_queue_time: Duration,
    /// Largest answer of a worker, in bytes.
    pub max_reply_bytes: usize,
    /// Requests that ended two workers and are remembered, per model version; 0
    /// means none.
    pub quarantine_entries: usize,
    /// How long such a request is refused; zero means not at all.
    #[serde(with = "super::duration")]
    pub quarantine_time: Duration,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as a `tracing` filter: `info`, or `info,rscore::http=debug`.
    pub filter: String,
}

/// `[traces]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// URL of a collector that takes OTLP over HTTP; nothing is traced without.
    pub endpoint: Option<String>,
    /// File with headers for the collector, such as a token.
    pub headers_file: Option<PathBuf>,
    /// The `service.name` of all spans.
    pub service_name: String,
    /// Part of the requests that are traced, of those whose callers did not decide.
    pub sample_ratio: f64,
    /// How long the collector may take for what it is sent.
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// How often what was gathered is sent.
    #[serde(with = "super::duration")]
    pub interval: Duration,
    /// Most spans that wait to be sent.
    pub max_queued_spans: usize,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            insecure_http: false,
            threads: 0,
            max_connections: 10_000,
            keep_alive: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            credentials_interval: Duration::from_secs(10),
            expose_model_errors: true,
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            hs256_secret_file: None,
            signing_key: None,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
        }
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("models"),
            cache: PathBuf::from("models-cache"),
            fetch_interval: Duration::from_secs(30),
            fetch_concurrency: 8,
            max_files: 10_000,
            max_version_bytes: 16 * 1024 * 1024 * 1024,
            require_all: true,
            poll_interval: Duration::from_secs(5),
            settle: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(5 * 60),
            load_timeout: Duration::from_secs(120),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            max_retries: 8,
            // Signed requests are sent again as they are: their signatures end
            // after minutes.
            retry_timeout: Duration::from_secs(120),
            sync_files: true,
        }
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            count: 0,
            math_threads: 1,
            // A leak of 1 kB per call, which nobody notices in a test, stays below
            // 100 MB; and at 2 ms a call a fork of a few ms every 200 s costs nothing.
            max_calls: 100_000,
            max_collections: 80,
            max_rss_bytes: 0,
            max_growth_bytes: 0,
            max_age: Duration::ZERO,
            idle_collect: Duration::from_secs(10),
            interrupt_grace: Duration::from_millis(250),
            zygote_timeout: Duration::from_secs(10),
            output_lines_per_second: 100,
            environment: Vec::new(),
        }
    }
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self {
            max_rows: 1024,
            target_latency: Duration::from_millis(50),
            max_delay: Duration::ZERO,
            split_rows: 256,
            audit_every: 4096,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024 * 1024,
            max_rows: 1_000_000,
            max_record_bytes: 1024 * 1024,
            max_stream_bytes: 16 * 1024 * 1024 * 1024,
            stream_rows: 1024,
            min_stream_rate: 240,
            max_requests: 4096,
            max_queued_requests: 2048,
            max_queued_rows: 1_000_000,
            max_queued_bytes: 256 * 1024 * 1024,
            max_queue_time: Duration::ZERO,
            max_reply_bytes: 256 * 1024 * 1024,
            quarantine_entries: 256,
            quarantine_time: Duration::from_secs(60),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, filter: "info".to_owned() }
    }
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers_file: None,
            service_name: "rscore".to_owned(),
            sample_ratio: 1.0,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            max_queued_spans: 8192,
        }
    }
}

impl Settings {
    /// Fills in the throw-away files of development mode where nothing was set:
    /// the certificate with its key, and the pair of keys that signs and
    /// verifies tokens. Pairs are never mixed with files of one's own.
    pub fn apply_development_files(
        &mut self,
        certificate: PathBuf,
        key: PathBuf,
        verification_key: PathBuf,
        signing_key: PathBuf,
    ) {
        if self.tls.certificate.is_none() && self.tls.key.is_none() {
            self.tls = TlsSettings { certificate: Some(certificate), key: Some(key) };
        }
        if self.auth.keys.is_empty() && self.auth.hs256_secret_file.is_none() && self.auth.signing_key.is_none() {
            self.auth.keys = vec![verification_key];
            self.auth.signing_key = Some(signing_key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_development_files(mut settings: Settings) -> Settings {
        settings.apply_development_files(
            "dev.pem".into(),
            "dev-key.pem".into(),
            "verify.pem".into(),
            "sign.pem".into(),
        );
        settings
    }

    #[test]
    fn development_files_fill_what_is_empty() {
        let settings = with_development_files(Settings::default());
        assert_eq!(settings.tls.certificate, Some("dev.pem".into()));
        assert_eq!(settings.tls.key, Some("dev-key.pem".into()));
        assert_eq!(settings.auth.keys, [PathBuf::from("verify.pem")]);
        assert_eq!(settings.auth.signing_key, Some("sign.pem".into()));
        assert_eq!((settings.auth.issuer, settings.auth.audience), (None, None));
    }

    #[test]
    fn development_files_replace_nothing() {
        let own = Settings {
            tls: TlsSettings { certificate: Some("own.pem".into()), key: Some("own-key.pem".into()) },
            auth: AuthSettings { keys: vec!["own-verify.pem".into()], ..AuthSettings::default() },
            ..Settings::default()
        };
        assert_eq!(with_development_files(own.clone()), own);
    }
}
