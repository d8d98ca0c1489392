//! What each setting means, in one table. Names in the environment and
//! defaults are derived from [`Settings`](super::Settings), never typed here.

use std::fmt::Write;

use serde_json::Value;

use super::environment;
use super::keys;

pub use super::keys::environment_name;

/// The text about one setting.
#[derive(Debug)]
pub struct Entry {
    /// Section and name, such as `server.listen`.
    pub key: &'static str,
    /// What a value must be, as a noun phrase.
    pub expected: &'static str,
    /// What it does: the first sentence stands alone in the help of a flag.
    pub help: &'static str,
}

const ADDRESS: &str = "an IP address with a port, such as 127.0.0.1:8443 or [::]:8443";
const COUNT: &str = "a whole number, 0 or more";
const BYTES: &str = "a whole number of bytes";
const NAMES: &str = "a list of names";
const SWITCH: &str = "true or false";
const DURATION: &str = "a duration as text, such as 500ms, 30s, 5m or 1h 30m";
const FILE: &str = "the path of a file";
const TEXT: &str = "text";
const RATIO: &str = "a number from 0 to 1";

const fn entry(key: &'static str, expected: &'static str, help: &'static str) -> Entry {
    Entry { key, expected, help }
}

/// All settings, section by section.
pub const ENTRIES: &[Entry] = &[
    entry("server.listen", ADDRESS, "Address of the callers' listener. With --dev the default is 127.0.0.1:8443."),
    entry(
        "server.admin_listen",
        ADDRESS,
        "Address of the operator's listener, which serves metrics and probes over plain HTTP without tokens. \
         Keep it away from callers.",
    ),
    entry(
        "server.insecure_http",
        SWITCH,
        "Serve callers over plain HTTP, for a pod behind a mesh that does TLS. Tokens are still required.",
    ),
    entry("server.threads", COUNT, "Threads that serve HTTP. 0 means one per core."),
    entry(
        "server.max_connections",
        COUNT,
        "Connections of callers that may be open at once. More wait to be accepted.",
    ),
    entry("server.keep_alive", DURATION, "How long an idle connection is kept open."),
    entry("server.head_timeout", DURATION, "How long a TLS handshake and the head of a request may take."),
    entry("server.body_timeout", DURATION, "How long the body of a request may take to arrive."),
    entry(
        "server.write_timeout",
        DURATION,
        "How long a caller may take for a piece of its answer (16 to 64 KiB). The connection of one that is slower is closed.",
    ),
    entry(
        "server.shutdown_delay",
        DURATION,
        "How long a server that got SIGTERM goes on taking requests while /readyz says no, so that load balancers \
         notice. SIGINT does not wait.",
    ),
    entry(
        "server.drain_timeout",
        DURATION,
        "How long a stop may take, server.shutdown_delay included, before requests that are not answered are lost. \
         Keep it below the grace period of what stops the server, 30s on Kubernetes.",
    ),
    entry(
        "server.credentials_interval",
        DURATION,
        "How often the files of certificate and token keys are looked at and, when they changed, read again. \
         0s means only at SIGHUP.",
    ),
    entry(
        "server.expose_model_errors",
        SWITCH,
        "Whether callers see the message of an R error in a model. The log always has it.",
    ),
    entry("tls.certificate", FILE, "PEM file with the server's certificate chain, leaf first. Goes with tls.key."),
    entry("tls.key", FILE, "PEM file with the private key of the certificate."),
    entry(
        "auth.keys",
        "a list of paths (separated by commas in the environment)",
        "Files with the keys that verify tokens, PEM public keys or JWK sets. Each key fixes its algorithm.",
    ),
    entry(
        "auth.hs256_secret_file",
        FILE,
        "File with the shared secret of HS256 tokens. Such tokens are refused when it is not set.",
    ),
    entry(
        "auth.signing_key",
        FILE,
        "PEM file with the private key that `rscore token` signs with. Serving never needs it.",
    ),
    entry("auth.issuer", TEXT, "The issuer (`iss`) that tokens must carry. Any is accepted when it is not set."),
    entry("auth.audience", TEXT, "The audience (`aud`) that tokens must carry. Any is accepted when it is not set."),
    entry("auth.leeway", DURATION, "Allowance for clocks that differ when the times of a token are checked."),
    entry(
        "models.path",
        "the path of a folder, or az://container/path, s3://bucket/path or gs://bucket/path",
        "The model repository, a folder with a folder per model, or such a folder in blob storage, which is then kept \
         in models.cache. Account, keys and endpoint of a store come from the environment (AZURE_..., AWS_..., \
         GOOGLE_...), never from a setting.",
    ),
    entry(
        "models.cache",
        "the path of a folder",
        "Where models from blob storage are kept. It should survive restarts, since a server starts from it while the \
         store is away. One server has it for itself.",
    ),
    entry(
        "models.fetch_interval",
        DURATION,
        "How often blob storage is looked at for new, changed and removed versions.",
    ),
    entry("models.fetch_concurrency", COUNT, "Files that are fetched from blob storage at once."),
    entry(
        "models.max_files",
        COUNT,
        "Most objects that a repository in blob storage may have. With more, nothing is fetched.",
    ),
    entry("models.max_version_bytes", BYTES, "Largest version that is fetched from blob storage."),
    entry(
        "models.require_all",
        SWITCH,
        "Whether one model that can't be loaded makes the server unready. When false the others are served.",
    ),
    entry(
        "models.poll_interval",
        DURATION,
        "How often the repository is looked at for versions that are new, changed or gone. 0s means only at SIGHUP \
         and when a reload is asked for.",
    ),
    entry(
        "models.settle",
        DURATION,
        "How long a changed folder must look the same before it is loaded, so that one which is still being copied \
         is left alone. Renaming a whole folder into place is safe without.",
    ),
    entry(
        "models.drain_timeout",
        DURATION,
        "How long requests of a replaced or removed generation may go on before its workers are ended.",
    ),
    entry("models.load_timeout", DURATION, "How long loading one version of a model may take."),
    entry(
        "models.timeout",
        DURATION,
        "Longest time for a request, queueing included, of a model whose manifest gives none.",
    ),
    entry("store.connect_timeout", DURATION, "How long connecting to blob storage may take."),
    entry("store.timeout", DURATION, "How long blob storage may take to answer, and between two pieces of its answer."),
    entry(
        "store.max_retries",
        COUNT,
        "How often a request to blob storage is sent again when it fails for a reason that may pass, with growing \
         pauses. 0 means never.",
    ),
    entry(
        "store.retry_timeout",
        DURATION,
        "How long after its first attempt a request to blob storage is still sent again.",
    ),
    entry(
        "store.sync_files",
        SWITCH,
        "Whether a file in a local folder counts as written only when the disk has it. When false, a power cut may \
         lose what was reported as done.",
    ),
    entry(
        "workers.count",
        COUNT,
        "R computations that run at once over all models, and worker processes per model version. 0 means one per core that the \
         control group allows, and per version no more than fit in its memory limit.",
    ),
    entry(
        "workers.math_threads",
        COUNT,
        "Threads that BLAS and OpenMP may use within one worker. More than 1 competes with other workers for cores.",
    ),
    entry(
        "workers.max_calls",
        COUNT,
        "Calls after which a worker is replaced by a fresh one, so that what model code leaks stays small. 0 means never.",
    ),
    entry(
        "workers.max_collections",
        COUNT,
        "Garbage collections of R after which a worker is replaced by a fresh one between two calls, before R's next full \
         collection (the 126th at the latest; one of the middle generation counts for 21), which would take tens of \
         milliseconds and unshare the model's pages. Not before it is 50 times as old as its first call was long. 0 means never.",
    ),
    entry(
        "workers.max_rss_bytes",
        BYTES,
        "Resident memory above which a worker is replaced by a fresh one between two calls. Pages of the model, which \
         all workers share, count. 0 means never, or a part of the memory limit of the server's control group where there \
         is one.",
    ),
    entry(
        "workers.max_growth_bytes",
        BYTES,
        "Memory that a worker may take beyond what it had when it was forked (RLIMIT_DATA). A call that needs more gets \
         R's error, and the worker is replaced. 0 means no bound, or twice a worker's part of the memory limit where \
         there is one.",
    ),
    entry("workers.max_age", DURATION, "Age at which a worker is replaced by a fresh one. 0s means never."),
    entry(
        "workers.idle_collect",
        DURATION,
        "How long a worker must have been idle before it collects garbage, which then costs no request any time. \
         0s means never.",
    ),
    entry(
        "workers.interrupt_grace",
        DURATION,
        "How long R has to stop after it was interrupted at the deadline of a request. A worker that does not is killed \
         and replaced.",
    ),
    entry(
        "workers.zygote_timeout",
        DURATION,
        "How long the process that holds a model may take to fork a worker or to answer a ping (one is sent every half of \
         this time) before it counts as hung. It is then killed and replaced, while its workers go on.",
    ),
    entry(
        "workers.output_lines_per_second",
        COUNT,
        "Lines that R prints which are logged in a second, per model version and stream. The log says how many more there \
         were. 0 means none.",
    ),
    entry(
        "workers.environment",
        NAMES,
        "Environment variables that model code may see, beside the few that R needs (PATH, HOME, locale, time zone, R's own). \
         All others, secrets of the server among them, are kept from it.",
    ),
    entry("batching.max_rows", COUNT, "Most rows of one call of R, whoever sent them."),
    entry(
        "batching.target_latency",
        DURATION,
        "How long one call of R should take at most. How long calls take is learned while serving, and a batch gets no more rows than fit, but for those that add less than a quarter of what one row costs.",
    ),
    entry(
        "batching.max_delay",
        DURATION,
        "How long a free worker waits for more rows before it begins. 0s begins at once: batches grow by themselves when all workers are busy.",
    ),
    entry(
        "batching.split_rows",
        COUNT,
        "Fewest rows of a part when a request is split over free workers; a request of less than twice as many is not split.",
    ),
    entry(
        "batching.audit_every",
        COUNT,
        "One call of several rows in so many is scored again row by row, 16 of its rows at most, and joining ends for the model version if that gives other numbers. 0 means never.",
    ),
    entry("limits.max_body_bytes", BYTES, "Largest body of a request, both as sent and after decompression."),
    entry("limits.max_rows", COUNT, "Most rows of one request."),
    entry(
        "limits.max_queued_requests",
        COUNT,
        "Most requests that wait for a worker of one model version; more are refused with 429.",
    ),
    entry(
        "limits.max_queued_rows",
        COUNT,
        "Most rows that wait for a worker of one model version; more are refused with 429.",
    ),
    entry(
        "limits.max_queued_bytes",
        BYTES,
        "Most memory of rows that wait for a worker of one model version; more are refused with 429.",
    ),
    entry(
        "limits.max_queue_time",
        DURATION,
        "Longest time that a request waits for a call of R. One that is expected to wait for more than four fifths of \
         it is refused with 429 at once, one that has waited for so long is refused then. 0s means no bound.",
    ),
    entry(
        "limits.max_requests",
        COUNT,
        "Most requests that are accepted and not yet answered. One more is refused with status 429.",
    ),
    entry("limits.max_record_bytes", BYTES, "Longest row of CSV or NDJSON. A longer one is refused with status 413."),
    entry(
        "limits.max_stream_bytes",
        BYTES,
        "Most bytes of a body that is scored piece by piece (CSV, NDJSON, Arrow), after decompression too.",
    ),
    entry(
        "limits.stream_rows",
        COUNT,
        "Rows of a body that is scored piece by piece that make one piece; a piece has at most 1 MiB, or one record.",
    ),
    entry(
        "limits.min_stream_rate",
        BYTES,
        "Bytes per second that a body must bring which is scored piece by piece, on average over `server.body_timeout`. 0 \
         means that one byte in that time is enough.",
    ),
    entry("limits.max_reply_bytes", BYTES, "Largest answer of a worker."),
    entry(
        "limits.quarantine_entries",
        COUNT,
        "Requests that ended two workers and are remembered, per model version. The same rows are refused with 502 without \
         another try. 0 means none.",
    ),
    entry(
        "limits.quarantine_time",
        DURATION,
        "How long the rows of a request that ended two workers are refused. 0s means not at all.",
    ),
    entry("log.format", "\"pretty\" or \"json\"", "How log lines look, for people or as one JSON object per line."),
    entry(
        "log.filter",
        TEXT,
        "What is logged: a level (error, warn, info, debug, trace), or levels by module such as info,rscore::http=debug.",
    ),
    entry(
        "traces.endpoint",
        TEXT,
        "URL of an OpenTelemetry collector that takes OTLP over HTTP, such as http://127.0.0.1:4318. Spans go to \
         /v1/traces under it, as protobuf. Traces are off without it; OTEL_EXPORTER_OTLP_ENDPOINT does not turn them on.",
    ),
    entry(
        "traces.headers_file",
        FILE,
        "File with headers for the collector, one `name: value` a line, such as `authorization: Bearer ...`. It is \
         read at the start, and its contents are never logged.",
    ),
    entry("traces.service_name", TEXT, "The service.name of the spans."),
    entry(
        "traces.sample_ratio",
        RATIO,
        "Part of the requests that are traced, of those that come without a traceparent. For the others its sampled \
         flag decides.",
    ),
    entry("traces.timeout", DURATION, "How long the collector may take for a batch of spans."),
    entry("traces.interval", DURATION, "How often spans are sent. A batch of 512 is sent sooner."),
    entry(
        "traces.max_queued_spans",
        COUNT,
        "Most spans that wait to be sent. More are dropped and counted; a request never waits for a collector.",
    ),
];

/// The text about a key.
pub fn find(key: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.key == key)
}

/// What a value of the key must be.
pub(super) fn expected(key: &str) -> &'static str {
    find(key).map_or("another value", |entry| entry.expected)
}

/// The default as it is written in the file; none for what is not set.
pub fn default_text(key: &str) -> Option<String> {
    keys::defaults().get(key).and_then(toml_literal)
}

/// Help of the flag that sets a key: its first sentence, then its other names.
pub fn flag_help(key: &str) -> String {
    let sentence = find(key).map_or("", |entry| entry.help.split(". ").next().unwrap_or_default());
    let default = default_text(key).map(|text| format!(", default: {text}")).unwrap_or_default();
    format!("{} [setting: {key}, environment: {}{default}]", sentence.trim_end_matches('.'), environment_name(key))
}

/// All settings as plain text, for long help.
pub fn as_help() -> String {
    let mut text = String::from(
        "Settings (defaults < configuration file < environment < flags; relative paths are relative to the \
         current directory):\n",
    );
    for entry in ENTRIES {
        let default = default_text(entry.key).unwrap_or_else(|| "not set".to_owned());
        _ = write!(
            text,
            "\n  {}\n      {}\n      [environment: {}, default: {default}]\n",
            entry.key,
            entry.help,
            environment_name(entry.key)
        );
    }
    text
}

/// All settings as a page of Markdown.
pub fn as_markdown() -> String {
    let mut text = format!(
        "# Settings\n\n\
         A value is taken from the last of these that has it: the default, the configuration file (TOML; `--config`, \
         `{}`, else `rscore.toml` in the current directory), the environment, a flag. Relative paths are relative to the \
         current directory. An unknown key is an error. An empty variable counts as not set.\n",
        environment::CONFIG_FILE
    );
    let mut section = "";
    for entry in ENTRIES {
        let (current, name) = entry.key.split_once('.').unwrap_or(("", entry.key));
        if current != section {
            section = current;
            _ = write!(
                text,
                "\n## [{section}]\n\n| key | environment | default | value | meaning |\n|---|---|---|---|---|\n"
            );
        }
        let default = default_text(entry.key).map_or_else(|| "not set".to_owned(), |text| format!("`{text}`"));
        let name_in_environment = environment_name(entry.key);
        _ = writeln!(text, "| `{name}` | `{name_in_environment}` | {default} | {} | {} |", entry.expected, entry.help);
    }
    text
}

/// A value as TOML; none for null.
pub(super) fn toml_literal(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(values) => {
            let values: Vec<String> = values.iter().filter_map(toml_literal).collect();
            Some(format!("[{}]", values.join(", ")))
        }
        // Basic strings of TOML are JSON strings, but for DEL, which TOML wants escaped.
        other => Some(other.to_string().replace('\u{7f}', "\\u007F")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_covers_every_setting_once() {
        let described: BTreeSet<&str> = ENTRIES.iter().map(|entry| entry.key).collect();
        let all: BTreeSet<&str> = keys::defaults().keys().map(String::as_str).collect();
        assert_eq!(described, all);
        assert_eq!(described.len(), ENTRIES.len(), "a key is listed twice");
    }

    #[test]
    fn every_text_is_whole_sentences() {
        for entry in ENTRIES {
            assert!(entry.help.ends_with('.'), "{}", entry.key);
            assert!(entry.help.starts_with(char::is_uppercase), "{}", entry.key);
            assert!(!entry.expected.is_empty(), "{}", entry.key);
        }
    }

    #[test]
    fn expectations_match_what_is_accepted() {
        // A value that fits the words must be accepted, one of another type must not.
        for entry in ENTRIES {
            let (good, bad): (Value, Value) = match entry.expected {
                ADDRESS => ("[::]:8443".into(), "localhost".into()),
                COUNT | BYTES => (1.into(), (-1).into()),
                SWITCH => (true.into(), "yes".into()),
                RATIO => (0.25.into(), "a quarter".into()),
                DURATION => ("1h 30m".into(), "soon".into()),
                text if text.starts_with("a list") => (vec!["a.pem"].into(), "a.pem".into()),
                text if text.starts_with('"') => ("json".into(), "xml".into()),
                _ => ("text".into(), 1.into()),
            };
            assert!(keys::settings_with(entry.key, good).is_ok(), "{}", entry.key);
            assert!(keys::settings_with(entry.key, bad).is_err(), "{}", entry.key);
        }
    }

    #[test]
    fn flag_help_has_every_name_and_the_default() {
        assert_eq!(
            flag_help("server.admin_listen"),
            "Address of the operator's listener, which serves metrics and probes over plain HTTP without tokens \
             [setting: server.admin_listen, environment: RSCORE_SERVER__ADMIN_LISTEN, default: \"127.0.0.1:9090\"]"
        );
    }

    #[test]
    fn markdown_has_a_row_per_setting() {
        let page = as_markdown();
        for entry in ENTRIES {
            let name = environment_name(entry.key);
            assert_eq!(page.lines().filter(|line| line.contains(&format!("`{name}`"))).count(), 1, "{name}");
        }
    }
}
