//! Rules that settings must keep together, as a pure function.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::duration;
use super::problem::Problem;
use super::settings::Settings;

/// What settings are for; decides which must be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A subcommand that opens no listener.
    Tool,
    /// `rscore serve`
    Serve,
    /// `rscore serve --dev`: loopback only, certificate and keys are made up.
    Development,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Rows and bytes are counted in 32 bits with sign by R and by Arrow.
const MAX_32_BIT: usize = i32::MAX as usize;

/// Every rule that the settings break.
pub fn validate(settings: &Settings, purpose: Purpose) -> Vec<Problem> {
    let mut problems = Vec::new();
    numbers(settings, &mut problems);
    durations(settings, &mut problems);
    texts(settings, &mut problems);
    listeners(settings, purpose, &mut problems);
    files(settings, purpose, &mut problems);
    problems
}

fn numbers(settings: &Settings, problems: &mut Vec<Problem>) {
    let Settings { server, models, store, workers, batching, limits, traces, .. } = settings;
    for (key, value, least, most) in [
        ("server.threads", server.threads, 0, 1024),
        ("server.max_connections", server.max_connections, 1, 1_000_000),
        ("models.fetch_concurrency", models.fetch_concurrency, 1, 1024),
        ("models.max_files", models.max_files, 1, 1_000_000),
        ("models.max_version_bytes", models.max_version_bytes, 1, usize::MAX),
        ("store.max_retries", store.max_retries, 0, 100),
        ("workers.count", workers.count, 0, 1024),
        ("workers.math_threads", workers.math_threads, 1, 1024),
        ("workers.output_lines_per_second", workers.output_lines_per_second, 0, 1_000_000),
        ("workers.max_calls", workers.max_calls, 0, u32::MAX as usize),
        ("workers.max_collections", workers.max_collections, 0, u32::MAX as usize),
        ("limits.max_body_bytes", limits.max_body_bytes, 1, MAX_32_BIT),
        ("limits.max_rows", limits.max_rows, 1, MAX_32_BIT),
        ("limits.max_record_bytes", limits.max_record_bytes, 1, MAX_32_BIT),
        ("limits.max_stream_bytes", limits.max_stream_bytes, 1, usize::MAX),
        ("limits.stream_rows", limits.stream_rows, 1, MAX_32_BIT),
        ("limits.min_stream_rate", limits.min_stream_rate, 0, MAX_32_BIT),
        ("limits.max_requests", limits.max_requests, 1, 1_000_000),
        ("batching.max_rows", batching.max_rows, 1, MAX_32_BIT),
        ("batching.split_rows", batching.split_rows, 1, MAX_32_BIT),
        ("limits.max_queued_requests", limits.max_queued_requests, 1, 1_000_000),
        ("limits.max_queued_rows", limits.max_queued_rows, 1, MAX_32_BIT),
        ("limits.max_queued_bytes", limits.max_queued_bytes, 1, usize::MAX),
        ("limits.max_reply_bytes", limits.max_reply_bytes, 1, MAX_32_BIT),
        // Each is compared with what comes, so there must not be too many.
        ("limits.quarantine_entries", limits.quarantine_entries, 0, 10_000),
        ("traces.max_queued_spans", traces.max_queued_spans, 1, 1_000_000),
    ] {
        if value < least || value > most {
            problems.push(Problem::rule(key, format!("got {value}, expected {least} to {most}")));
        }
    }
}

fn durations(settings: &Settings, problems: &mut Vec<Problem>) {
    let Settings { server, auth, models, store, workers, batching, limits, traces, .. } = settings;
    for (key, value, least, most) in [
        ("server.keep_alive", server.keep_alive, MILLISECOND, HOUR),
        ("server.head_timeout", server.head_timeout, MILLISECOND, HOUR),
        ("server.body_timeout", server.body_timeout, MILLISECOND, HOUR),
        ("server.shutdown_delay", server.shutdown_delay, Duration::ZERO, HOUR),
        ("server.write_timeout", server.write_timeout, MILLISECOND, HOUR),
        ("server.drain_timeout", server.drain_timeout, Duration::ZERO, HOUR),
        ("server.credentials_interval", server.credentials_interval, Duration::ZERO, DAY),
        // A longer allowance would accept tokens that are plainly expired.
        ("auth.leeway", auth.leeway, Duration::ZERO, Duration::from_secs(10 * 60)),
        ("models.poll_interval", models.poll_interval, Duration::ZERO, DAY),
        ("models.fetch_interval", models.fetch_interval, Duration::from_millis(100), DAY),
        ("models.settle", models.settle, Duration::ZERO, HOUR),
        ("models.drain_timeout", models.drain_timeout, Duration::ZERO, DAY),
        ("models.load_timeout", models.load_timeout, MILLISECOND, DAY),
        ("batching.target_latency", batching.target_latency, MILLISECOND, HOUR),
        ("batching.max_delay", batching.max_delay, Duration::ZERO, Duration::from_secs(10)),
        ("models.timeout", models.timeout, MILLISECOND, DAY),
        ("store.connect_timeout", store.connect_timeout, MILLISECOND, HOUR),
        ("store.timeout", store.timeout, MILLISECOND, HOUR),
        // Signatures of requests that are sent again as they are end after minutes.
        ("store.retry_timeout", store.retry_timeout, Duration::ZERO, Duration::from_secs(5 * 60)),
        ("workers.max_age", workers.max_age, Duration::ZERO, 365 * DAY),
        ("workers.idle_collect", workers.idle_collect, Duration::ZERO, DAY),
        ("workers.zygote_timeout", workers.zygote_timeout, Duration::from_millis(100), HOUR),
        ("limits.max_queue_time", limits.max_queue_time, Duration::ZERO, DAY),
        ("limits.quarantine_time", limits.quarantine_time, Duration::ZERO, DAY),
        ("workers.interrupt_grace", workers.interrupt_grace, Duration::ZERO, Duration::from_secs(60)),
        ("traces.timeout", traces.timeout, MILLISECOND, HOUR),
        ("traces.interval", traces.interval, MILLISECOND, HOUR),
    ] {
        if value < least || value > most {
            let [value, least, most] = [value, least, most].map(duration::format);
            problems.push(Problem::rule(key, format!("got {value}, expected {least} to {most}")));
        }
    }
}

fn texts(settings: &Settings, problems: &mut Vec<Problem>) {
    let Settings { auth, log, traces, .. } = settings;
    for (key, text) in [("auth.issuer", &auth.issuer), ("auth.audience", &auth.audience)] {
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            problems.push(Problem::rule(key, "is empty; leave it out when tokens need not carry it"));
        }
    }
    if let Err(message) = check_filter(&log.filter) {
        problems.push(Problem::rule("log.filter", message));
    }
    if !(0.0..=1.0).contains(&traces.sample_ratio) {
        problems.push(Problem::rule("traces.sample_ratio", format!("got {}, expected 0 to 1", traces.sample_ratio)));
    }
    if traces.service_name.trim().is_empty() {
        problems.push(Problem::rule("traces.service_name", "is empty"));
    }
    if let Some(endpoint) = &traces.endpoint
        && let Err(message) = check_endpoint(endpoint)
    {
        problems.push(Problem::rule("traces.endpoint", message));
    } else if let (Some(endpoint), Some(_)) = (&traces.endpoint, &traces.headers_file)
        && !protects_secrets(endpoint)
    {
        let message = "its secrets would not be protected on their way: traces.endpoint is neither https nor loopback";
        problems.push(Problem::rule("traces.headers_file", message));
    }
}

/// Whether what is sent to this URL can't be read on its way.
fn protects_secrets(endpoint: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(endpoint) else { return false };
    let host = url.host_str().unwrap_or_default();
    let is_loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || is_loopback
}

/// Whether this can be the URL of a collector. The text is not repeated: it may hold
/// what should be in `traces.headers_file`.
fn check_endpoint(endpoint: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected a URL such as http://127.0.0.1:4318";
    let url = reqwest::Url::parse(endpoint).map_err(|error| format!("is no URL ({error}); {EXPECTED}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme {}; {EXPECTED}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than scheme, host, port and path; credentials belong in traces.headers_file".to_owned());
    }
    Ok(())
}

fn listeners(settings: &Settings, purpose: Purpose, problems: &mut Vec<Problem>) {
    let server = &settings.server;
    if collide(server.listen, server.admin_listen) {
        let message = format!("is {}, which collides with server.listen, {}", server.admin_listen, server.listen);
        problems.push(Problem::rule("server.admin_listen", message));
    }
    if purpose == Purpose::Development {
        for (key, address) in [("server.listen", server.listen), ("server.admin_listen", server.admin_listen)] {
            if !address.ip().is_loopback() {
                let message = format!("got {address}, expected a loopback address, such as 127.0.0.1, with --dev");
                problems.push(Problem::rule(key, message));
            }
        }
    }
}

fn files(settings: &Settings, purpose: Purpose, problems: &mut Vec<Problem>) {
    let Settings { server, tls, auth, models, traces, .. } = settings;
    let optional = [
        ("tls.certificate", &tls.certificate),
        ("tls.key", &tls.key),
        ("auth.hs256_secret_file", &auth.hs256_secret_file),
        ("auth.signing_key", &auth.signing_key),
        ("traces.headers_file", &traces.headers_file),
    ];
    let given = optional.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)));
    let keys = auth.keys.iter().map(|path| ("auth.keys", path.as_path()));
    for (key, path) in
        given.chain(keys).chain([("models.path", models.path.as_path()), ("models.cache", models.cache.as_path())])
    {
        if path == Path::new("") {
            problems.push(Problem::rule(key, "got an empty path, expected the path of a file or folder"));
        }
    }

    match (&tls.certificate, &tls.key) {
        (Some(_), None) => problems.push(Problem::rule("tls.key", "is needed as well, since tls.certificate is set")),
        (None, Some(_)) => {
            problems.push(Problem::rule("tls.certificate", "is needed as well, since tls.key is set"));
        }
        (None, None) if purpose == Purpose::Serve && !server.insecure_http => problems.push(Problem::rule(
            "tls.certificate",
            "a certificate and its key (tls.key) are needed to serve HTTPS; --dev makes throw-away ones, and \
             server.insecure_http = true serves plain HTTP behind a mesh",
        )),
        _ => {}
    }
    let verifies_nothing = auth.keys.is_empty() && auth.hs256_secret_file.is_none();
    if purpose == Purpose::Development && verifies_nothing && auth.signing_key.is_some() {
        problems
            .push(Problem::rule("auth.keys", "the key that verifies what auth.signing_key signs is needed as well"));
    }
    if purpose == Purpose::Serve && verifies_nothing {
        problems.push(Problem::rule(
            "auth.keys",
            "at least one key that verifies tokens is needed (or auth.hs256_secret_file); --dev makes a throw-away one",
        ));
    }
}

/// Whether both addresses can't be bound at once. Port 0 is any free port.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Whether the log filter can be parsed and means something: `tracing` takes a
/// word that it doesn't know for the name of a module, so that `inof` would
/// silence everything without a word.
fn check_filter(filter: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const EXPECTED: &str = "expected directives such as info, or info,rscore::http=debug";
    if filter.trim().is_empty() {
        return Err(format!("is empty; {EXPECTED}"));
    }
    EnvFilter::builder().parse(filter).map_err(|error| format!("got '{filter}' ({error}); {EXPECTED}"))?;
    for word in filter.split(',').map(str::trim) {
        let lower = word.to_lowercase();
        let near = LEVELS.iter().find(|level| (1..=2).contains(&strsim::osa_distance(&lower, level)));
        if let Some(level) = near.filter(|_| !LEVELS.contains(&lower.as_str()) && lower.parse::<u8>().is_err()) {
            return Err(format!("got '{word}', which is no level; did you mean '{level}'?"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Settings {
        let mut settings = Settings::default();
        settings.tls.certificate = Some("server.pem".into());
        settings.tls.key = Some("server-key.pem".into());
        settings.auth.keys = vec!["token.pem".into()];
        settings
    }

    /// The keys of the rules that break after a change.
    fn broken(purpose: Purpose, change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = good();
        change(&mut settings);
        validate(&settings, purpose).into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn good_settings_break_no_rule() {
        assert_eq!(validate(&good(), Purpose::Serve), []);
        assert_eq!(validate(&Settings::default(), Purpose::Tool), []);
    }

    #[test]
    fn serving_needs_a_certificate_and_token_keys() {
        assert_eq!(broken(Purpose::Serve, |s| s.tls = Default::default()), ["tls.certificate"]);
        assert_eq!(broken(Purpose::Serve, |s| s.auth.keys.clear()), ["auth.keys"]);
        assert!(
            broken(Purpose::Serve, |s| {
                s.tls = Default::default();
                s.server.insecure_http = true;
            })
            .is_empty()
        );
        assert_eq!(
            broken(Purpose::Serve, |s| {
                s.server.insecure_http = true;
                s.auth.keys.clear();
            }),
            ["auth.keys"],
            "plain HTTP is no way around tokens"
        );
        assert!(
            broken(Purpose::Serve, |s| {
                s.auth.keys.clear();
                s.auth.hs256_secret_file = Some("secret".into());
            })
            .is_empty()
        );
    }

    #[test]
    fn certificate_and_key_go_together() {
        for purpose in [Purpose::Tool, Purpose::Serve, Purpose::Development] {
            let on_loopback = |s: &mut Settings| s.server.listen = ([127, 0, 0, 1], 8443).into();
            let without_key = |s: &mut Settings| {
                on_loopback(s);
                s.tls.key = None;
            };
            let without_certificate = |s: &mut Settings| {
                on_loopback(s);
                s.tls.certificate = None;
            };
            assert_eq!(broken(purpose, without_key), ["tls.key"]);
            assert_eq!(broken(purpose, without_certificate), ["tls.certificate"]);
        }
    }

    #[test]
    fn development_stays_on_loopback() {
        assert_eq!(broken(Purpose::Development, |_| ()), ["server.listen"]);
        let both = broken(Purpose::Development, |s| s.server.admin_listen = ([10, 0, 0, 1], 9090).into());
        assert_eq!(both, ["server.listen", "server.admin_listen"]);
        assert!(
            broken(Purpose::Development, |s| s.server.listen = "[::1]:8443".parse().expect("an address")).is_empty()
        );
    }

    #[test]
    fn development_does_not_mix_its_own_keys_with_others() {
        let mixed = |s: &mut Settings| {
            s.server.listen = ([127, 0, 0, 1], 8443).into();
            s.auth.keys.clear();
            s.auth.signing_key = Some("mine.pem".into());
        };
        assert_eq!(broken(Purpose::Development, mixed), ["auth.keys"]);
    }

    #[test]
    fn listeners_must_not_collide() {
        let same = |s: &mut Settings| s.server.admin_listen = ([127, 0, 0, 1], 8443).into();
        assert_eq!(broken(Purpose::Serve, same), ["server.admin_listen"]);
        let any_port = |s: &mut Settings| {
            s.server.listen = ([127, 0, 0, 1], 0).into();
            s.server.admin_listen = ([127, 0, 0, 1], 0).into();
        };
        assert!(broken(Purpose::Serve, any_port).is_empty());
    }

    #[test]
    fn numbers_and_durations_have_bounds() {
        let all = broken(Purpose::Tool, |s| {
            s.server.threads = 5000;
            s.server.max_connections = 0;
            s.workers.count = 5000;
            s.workers.math_threads = 0;
            s.limits.max_body_bytes = 0;
            s.limits.max_rows = MAX_32_BIT + 1;
            s.limits.max_requests = 0;
            s.limits.max_reply_bytes = 0;
            s.server.keep_alive = Duration::ZERO;
            s.server.head_timeout = Duration::ZERO;
            s.server.body_timeout = Duration::ZERO;
            s.server.write_timeout = Duration::ZERO;
            s.server.drain_timeout = 2 * HOUR;
            s.auth.leeway = HOUR;
            s.models.load_timeout = Duration::ZERO;
            s.models.timeout = 2 * DAY;
        });
        assert_eq!(all.len(), 16, "{all:?}");
    }

    #[test]
    fn empty_texts_and_paths_are_refused() {
        let all = broken(Purpose::Tool, |s| {
            s.auth.issuer = Some(String::new());
            s.auth.audience = Some(" ".into());
            s.auth.signing_key = Some("".into());
            s.auth.keys.push("".into());
            s.models.path = "".into();
        });
        assert_eq!(all, ["auth.issuer", "auth.audience", "auth.signing_key", "auth.keys", "models.path"]);
    }

    #[test]
    fn a_collector_is_a_url_without_credentials() {
        let with = |endpoint: &str, headers: Option<&str>| {
            broken(Purpose::Tool, |s| {
                s.traces.endpoint = Some(endpoint.to_owned());
                s.traces.headers_file = headers.map(Into::into);
            })
        };
        for good in ["http://127.0.0.1:4318", "https://collector.example/prefix/", "http://[::1]:4318/v1/traces"] {
            assert!(with(good, Some("headers")).is_empty(), "{good}");
        }
        assert!(with("http://collector:4318", None).is_empty());
        assert_eq!(with("http://collector:4318", Some("headers")), ["traces.headers_file"], "a secret in plain text");
        for bad in [
            "",
            "127.0.0.1:4318",
            "collector",
            "grpc://collector:4317",
            "https://me:secret@collector/",
            "http://c/?k=v",
        ] {
            assert_eq!(with(bad, None), ["traces.endpoint"], "{bad}");
        }
        let others = broken(Purpose::Tool, |s| {
            s.traces.sample_ratio = 1.5;
            s.traces.service_name = " ".to_owned();
            s.traces.max_queued_spans = 0;
            s.traces.interval = Duration::ZERO;
        });
        assert_eq!(others.len(), 4, "{others:?}");
        assert_eq!(broken(Purpose::Tool, |s| s.traces.sample_ratio = f64::NAN), ["traces.sample_ratio"]);
    }

    #[test]
    fn log_filters_are_read_and_mistyped_levels_found() {
        for good in
            ["info", "INFO", "off", "info,rscore::http=debug", "rscore", "warn,h2=off", "rscore[{id}]=trace", "3"]
        {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "info,rscore=loud", "inof", "debgu,rscore=info", "wran"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
