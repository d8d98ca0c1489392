//! Loading through all layers, with files and an environment of the tests' own.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::effective_toml;
use crate::config::settings::LogFormat;

/// Sources in a folder of their own.
struct Fixture {
    directory: TempDir,
    sources: Sources,
}

impl Fixture {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary folder");
        let sources = Sources {
            file: None,
            directory: directory.path().to_owned(),
            environment: Environment::default(),
            flags: Vec::new(),
            purpose: Purpose::Tool,
        };
        Self { directory, sources }
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.directory.path().join(DEFAULT_FILE), text).expect("a writable folder");
        self
    }

    fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.sources.environment = variables.iter().copied().collect();
        self
    }

    fn flag(mut self, key: &'static str, flag: &'static str, values: &[&str]) -> Self {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.sources.flags.push(FlagValue { key, flag, values });
        self
    }

    fn purpose(mut self, purpose: Purpose) -> Self {
        self.sources.purpose = purpose;
        self
    }

    fn load(&self) -> Loaded {
        load(&self.sources).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Every problem, with the folder's path left out.
    fn problems(&self) -> Vec<String> {
        let prefix = format!("{}/", self.directory.path().display());
        let error = load(&self.sources).expect_err("a configuration with mistakes");
        error.problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }
}

#[test]
fn without_sources_the_defaults_hold() {
    let loaded = Fixture::new().load();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.origins.values().all(|origin| *origin == Origin::Default));
    assert_eq!(loaded.origins.len(), keys::defaults().len());
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let fixture = Fixture::new()
        .file(
            "[limits]\nmax_rows = 1\nmax_requests = 1\nmax_body_bytes = 1\n\
             [log]\nformat = \"json\"\n[auth]\nissuer = \"123\"\n",
        )
        .environment(&[("RSCORE_LIMITS__MAX_ROWS", "2"), ("RSCORE_LIMITS__MAX_REQUESTS", "2")])
        .flag("limits.max_rows", "--rows", &["3"]);
    let Loaded { settings, origins, .. } = fixture.load();
    assert_eq!((settings.limits.max_rows, settings.limits.max_requests, settings.limits.max_body_bytes), (3, 2, 1));
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.auth.issuer.as_deref(), Some("123"));
    assert_eq!(origins["limits.max_rows"], Origin::Flag("--rows".into()));
    assert_eq!(origins["limits.max_requests"], Origin::Environment("RSCORE_LIMITS__MAX_REQUESTS".into()));
    assert_eq!(origins["limits.max_body_bytes"], Origin::File(fixture.directory.path().join(DEFAULT_FILE)));
    assert_eq!(origins["limits.max_reply_bytes"], Origin::Default);
}

#[test]
fn every_type_can_come_from_the_environment() {
    let fixture = Fixture::new().environment(&[
        ("RSCORE_SERVER__LISTEN", "[::1]:0"),
        ("RSCORE_SERVER__INSECURE_HTTP", "true"),
        ("RSCORE_SERVER__KEEP_ALIVE", "1m 30s"),
        ("RSCORE_WORKERS__COUNT", "7"),
        ("RSCORE_AUTH__KEYS", "a.pem, b.json,"),
        ("RSCORE_AUTH__ISSUER", "4711"),
        ("RSCORE_AUTH__AUDIENCE", "true"),
        ("RSCORE_LOG__FORMAT", "json"),
    ]);
    let settings = fixture.load().settings;
    assert_eq!(settings.server.listen.to_string(), "[::1]:0");
    assert!(settings.server.insecure_http);
    assert_eq!(settings.server.keep_alive, Duration::from_secs(90));
    assert_eq!(settings.workers.count, 7);
    assert_eq!(settings.auth.keys, [PathBuf::from("a.pem"), PathBuf::from("b.json")]);
    assert_eq!(settings.auth.issuer.as_deref(), Some("4711"), "text that looks like a number stays text");
    assert_eq!(settings.auth.audience.as_deref(), Some("true"));
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn a_repeated_flag_is_a_list_and_commas_belong_to_its_paths() {
    let settings = Fixture::new().flag("auth.keys", "--auth-key", &["a,b.pem", "c.pem"]).load().settings;
    assert_eq!(settings.auth.keys, [PathBuf::from("a,b.pem"), PathBuf::from("c.pem")]);
}

#[test]
fn every_mistake_of_every_layer_is_reported_at_once() {
    let fixture = Fixture::new()
        .file(
            "colour = 1\nlimits = 5\n\
             [servr]\nlisten = \"127.0.0.1:1\"\n\
             [server]\nlisten = \"localhost\"\nthreads = 1.5\ninsecure_http = 1\nkeep_alive = 30\n\
             [auth]\nkeys = \"one.pem\"\n",
        )
        .environment(&[
            ("RSCORE_SERVER_THREADS", "hunter2"),
            ("RSCORE_WORKERS__COUNT", "-1"),
            ("RSCORE_LOG__FORMAT", "xml"),
        ])
        .flag("server.admin_listen", "--admin-listen", &["9090"]);
    assert_eq!(
        fixture.problems(),
        [
            "auth.keys (file rscore.toml): got \"one.pem\", expected a list of paths (separated by commas in the environment)",
            "colour (file rscore.toml): there is no such setting (rscore config --reference lists all)",
            "limits (file rscore.toml): got 5, expected a section '[limits]'",
            "server.insecure_http (file rscore.toml): got 1, expected true or false",
            "server.keep_alive (file rscore.toml): got 30, expected a duration as text, such as 500ms, 30s, 5m or 1h 30m",
            "server.listen (file rscore.toml): got \"localhost\", expected an IP address with a port, such as \
             127.0.0.1:8443 or [::]:8443",
            "server.threads (file rscore.toml): got 1.5, expected a whole number, 0 or more",
            "servr.listen (file rscore.toml): there is no such setting; did you mean 'server.listen'? \
             (rscore config --reference lists all)",
            "log.format (environment RSCORE_LOG__FORMAT): got \"xml\", expected \"pretty\" or \"json\"",
            "environment RSCORE_SERVER_THREADS: there is no such setting; did you mean \
             'RSCORE_SERVER__THREADS'? (rscore config --reference lists all)",
            "workers.count (environment RSCORE_WORKERS__COUNT): got \"-1\", expected a whole number, 0 or more",
            "server.admin_listen (flag --admin-listen): got \"9090\", expected an IP address with a port, such as \
             127.0.0.1:8443 or [::]:8443",
        ]
    );
}

#[test]
fn the_value_of_an_unknown_variable_is_never_shown() {
    let problems = Fixture::new().environment(&[("RSCORE_AUTH__HS256_SECRET", "hunter2")]).problems();
    assert!(problems[0].contains("RSCORE_AUTH__HS256_SECRET_FILE"), "{problems:?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn rules_name_the_layer_that_broke_them() {
    let fixture = Fixture::new().environment(&[("RSCORE_LIMITS__MAX_ROWS", "0")]).purpose(Purpose::Serve);
    let problems = fixture.problems();
    assert_eq!(problems[0], "limits.max_rows (environment RSCORE_LIMITS__MAX_ROWS): got 0, expected 1 to 2147483647");
    assert!(problems[1].starts_with("tls.certificate: "), "{problems:?}");
    assert!(problems[2].starts_with("auth.keys: "), "{problems:?}");
    assert_eq!(problems.len(), 3);
}

#[test]
fn a_rule_is_not_applied_to_a_value_that_was_not_read() {
    let fixture = Fixture::new().file("[tls]\ncertificate = 1\nkey = \"k.pem\"\n");
    assert_eq!(fixture.problems(), ["tls.certificate (file rscore.toml): got 1, expected the path of a file"]);
}

#[test]
fn files_are_found_by_flag_then_environment_then_name() {
    let mut fixture = Fixture::new().file("[limits]\nmax_rows = 1\n");
    let write = |name: &str, rows: u32| {
        let path = fixture.directory.path().join(name);
        fs::write(&path, format!("[limits]\nmax_rows = {rows}\n")).expect("a writable folder");
        path
    };
    let (second, third) = (write("second.toml", 2), write("third.toml", 3));
    assert_eq!(fixture.load().settings.limits.max_rows, 1);
    fixture.sources.environment = [(environment::CONFIG_FILE, second.to_str().expect("UTF-8"))].into_iter().collect();
    assert_eq!(fixture.load().settings.limits.max_rows, 2);
    fixture.sources.file = Some(third);
    assert_eq!(fixture.load().settings.limits.max_rows, 3);
}

#[test]
fn files_that_cannot_be_read_are_problems() {
    let mut fixture = Fixture::new();
    fixture.sources.file = Some(fixture.directory.path().join("missing.toml"));
    assert_eq!(fixture.problems(), ["configuration file (file missing.toml): there is no such file"]);

    let large = "#".repeat(1024 * 1024 + 1);
    assert!(Fixture::new().file(&large).problems()[0].contains("larger than"));

    let broken = Fixture::new();
    fs::write(broken.directory.path().join(DEFAULT_FILE), [0xff, 0xfe]).expect("a writable folder");
    assert!(broken.problems()[0].contains("not valid UTF-8"));
}

#[test]
fn a_syntax_error_has_its_place_and_no_text_of_the_file() {
    let problems = Fixture::new().file("[server]\nhunter2 hunter3\n").problems();
    assert!(problems[0].contains("line 2, column "), "{problems:?}");
    assert!(!problems[0].contains("hunter"), "{problems:?}");
}

#[test]
fn development_listens_on_loopback_and_refuses_anything_else() {
    let loaded = Fixture::new().purpose(Purpose::Development).load();
    assert_eq!(loaded.settings.server.listen.to_string(), DEVELOPMENT_LISTEN);
    assert_eq!(loaded.origins["server.listen"], Origin::Development);

    let problems =
        Fixture::new().purpose(Purpose::Development).flag("server.listen", "--listen", &["0.0.0.0:1"]).problems();
    assert_eq!(
        problems,
        ["server.listen (flag --listen): got 0.0.0.0:1, expected a loopback address, such as 127.0.0.1, with --dev"]
    );
}

#[test]
fn development_can_come_from_the_environment() {
    let on = Fixture::new().environment(&[(environment::DEVELOPMENT, "true")]);
    assert_eq!(on.load().purpose, Purpose::Tool, "tools have no development mode");
    assert_eq!(on.purpose(Purpose::Serve).load().purpose, Purpose::Development);
    let wrong = Fixture::new().environment(&[(environment::DEVELOPMENT, "yes")]);
    assert_eq!(wrong.problems(), ["development mode (environment RSCORE_DEV): got \"yes\", expected true or false"]);
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let fixture = Fixture::new()
        .file("[auth]\nissuer = \"a \\\"quoted\\\" \\u007F one\"\nkeys = ['C:\\keys\\one.pem', \"b.pem\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n")
        .environment(&[("RSCORE_SERVER__BODY_TIMEOUT", "1h"), ("RSCORE_LIMITS__MAX_ROWS", "12")]);
    let loaded = fixture.load();
    let text = effective_toml(&loaded);
    assert!(
        text.lines()
            .any(|line| line.starts_with("max_rows = 12 ") && line.ends_with("# environment RSCORE_LIMITS__MAX_ROWS")),
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.starts_with("# signing_key is not set ") && line.ends_with("# default")),
        "{text}"
    );
    let again = Fixture::new().file(&text).load();
    assert_eq!(again.settings, loaded.settings);
}
