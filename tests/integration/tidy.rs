//! Keeps the house in order: who may import whom, where `unsafe` may stand,
//! what every file has. The tables below are the rules; each rule is a function
//! over parsed files with a test that breaks it on purpose.

mod source;

use std::path::Path;

use self::source::{Source, sources_of};

/// The parts of the crate from the bottom up: each may import only what stands
/// before it, so that there can be no circle.
const LAYERS: &[&str] = &[
    "error",
    "cgroup",
    "config",
    "pem",
    "telemetry",
    "frame",
    "store",
    "auth",
    "model",
    "tls",
    "lifecycle",
    "worker",
    "pool",
    "scoring",
    "batch",
    "http",
    "app",
    "cli",
    "main",
];

/// Crates that only some parts may name, by the beginning of the crate's name.
const CRATES: &[(&str, &[&str])] = &[
    // R stays behind one door, in the worker process.
    ("extendr", &["src/worker/r.rs", "src/worker/r/"]),
    ("libR_sys", &[]),
    // Everything below the doors knows no web framework.
    ("actix", &["src/http.rs", "src/http/", "src/app.rs", "src/app/"]),
    // Blob storage is spoken to in one place.
    ("object_store", &["src/store.rs", "src/store/"]),
    // What a request's spans are made of is decided in one place.
    ("opentelemetry", &["src/telemetry/"]),
    // The names of all metrics are in one catalogue.
    ("metrics", &["src/telemetry/metrics.rs", "src/telemetry/metrics/"]),
];

/// Where the process environment is read.
const ENVIRONMENT_READERS: &str = "src/config/";

/// Files that hold `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "src/worker/r/ffi.rs",
    "src/worker/r/ffi/collections.rs",
    "src/worker/r/ffi/interrupt.rs",
    "src/worker/r/ffi/object.rs",
    "src/worker/r/ffi/surroundings.rs",
    "src/worker/fork.rs",
];

/// Where tasks are begun that nobody guards, each with the reason. All others go through
/// `lifecycle::Background`, which ends the server when one of them panics.
const SPAWNERS: &[(&str, &str)] = &[
    ("src/lifecycle/background.rs", "it is what guards them"),
    ("src/http/doors/stream/scoring.rs", "the request waits for its chunks"),
    ("src/cli/serve.rs", "the server works without a welcome and without a second signal"),
    ("src/cli/models/pull.rs", "it draws a bar"),
    ("src/cli/batch/", "they draw a bar and listen for signals, which end a process that does not"),
    ("src/batch/run/shard.rs", "partitions are settled without heartbeats too"),
];

/// Most lines of a file.
const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

type Rule = fn(&Source) -> Vec<String>;

const RULES: &[Rule] =
    &[layers, crates, environment, unsafe_code, safety_comments, tasks, module_documentation, length];

/// Imports of the crate's own parts go down only.
fn layers(source: &Source) -> Vec<String> {
    let rank = |part: &str| LAYERS.iter().position(|layer| *layer == part);
    // The root only declares the parts.
    let Some(part) = source.module.first() else { return Vec::new() };
    let Some(own) = rank(part) else {
        return vec![format!("the part '{part}' is not in the list of layers")];
    };
    let mut breaches = Vec::new();
    for path in &source.paths {
        let [root, other, ..] = path.as_slice() else { continue };
        if root != "crate" || other == part {
            continue;
        }
        match rank(other) {
            Some(rank) if rank < own => {}
            Some(_) => breaches.push(format!("'{part}' imports '{}', which stands above it", path.join("::"))),
            // `crate::name` of something that the root declares by other means.
            None => breaches.push(format!("'{}' is not in the list of layers", path.join("::"))),
        }
    }
    breaches
}

/// Some crates are named in one place.
fn crates(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for path in &source.paths {
        for (name, allowed) in CRATES {
            if path[0].starts_with(name) && !allowed.iter().any(|place| source.path.starts_with(place)) {
                breaches.push(format!("names '{}', which only {allowed:?} may", path.join("::")));
            }
        }
    }
    breaches
}

/// Configuration is read in one place.
fn environment(source: &Source) -> Vec<String> {
    const READERS: &[&str] = &["var", "var_os", "vars", "vars_os", "set_var", "remove_var"];
    let touches = |path: &&Vec<String>| path.windows(2).any(|pair| pair[0] == "env" && READERS.contains(&&*pair[1]));
    if source.path.starts_with(ENVIRONMENT_READERS) {
        return Vec::new();
    }
    source.paths.iter().filter(touches).map(|path| format!("uses {}; only `config` may", path.join("::"))).collect()
}

/// `unsafe` is kept where it can be reviewed.
fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.contains(&&*source.path) {
        return Vec::new();
    }
    source.unsafe_places.iter().map(|place| format!("{place}; only {UNSAFE_FILES:?} may have it")).collect()
}

/// Each unsafe block says why it is sound.
fn safety_comments(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let is_comment = |line: &str| line.starts_with("//");
    let mut breaches = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if is_comment(line) || !(code.contains("unsafe {") || code.contains("unsafe impl")) || code.contains('"') {
            continue;
        }
        // The comment stands before the statement that the block is part of.
        let before = lines[..number].iter().rev();
        let statement =
            before.take_while(|line| is_comment(line) || !(line.is_empty() || line.ends_with([';', '{', '}'])));
        if !line.contains("SAFETY:") && !statement.clone().any(|line| is_comment(line) && line.contains("SAFETY:")) {
            breaches.push(format!("line {}: unsafe without a SAFETY comment", number + 1));
        }
    }
    breaches
}

/// No task that the server needs dies in silence.
fn tasks(source: &Source) -> Vec<String> {
    if SPAWNERS.iter().any(|(place, reason)| source.path.starts_with(place) && !reason.is_empty()) {
        return Vec::new();
    }
    let spawns = |path: &&Vec<String>| path[0] == "tokio" && path.last().is_some_and(|name| name == "spawn");
    let breach = |path: &Vec<String>| format!("uses {}; Background::spawn tells of a panic", path.join("::"));
    source.paths.iter().filter(spawns).map(breach).collect()
}

/// Each file says why it exists.
fn module_documentation(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { Vec::new() } else { vec!["does not start with //!".to_owned()] }
}

/// Files stay short.
fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let exempt = LONG_FILES.iter().any(|(path, reason)| *path == source.path && !reason.is_empty());
    if lines <= MAX_LINES || exempt { Vec::new() } else { vec![format!("has {lines} lines, more than {MAX_LINES}")] }
}

#[test]
fn the_source_keeps_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources_of(root);
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    let breaches: Vec<String> = sources
        .iter()
        .flat_map(|source| RULES.iter().flat_map(|rule| rule(source)).map(|text| format!("{}: {text}", source.path)))
        .collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn no_exception_has_outlived_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, _) in LONG_FILES.iter().chain(SPAWNERS) {
        assert!(root.join(path).exists(), "{path} is gone");
    }
}

/// How often a rule is broken by a file with this text.
fn count(rule: Rule, path: &str, text: &str) -> usize {
    rule(&Source::parse(path, text)).len()
}

#[test]
fn layers_refuse_imports_that_go_up() {
    assert_eq!(count(layers, "src/auth.rs", "use crate::error::Error; use crate::config::Settings;"), 0);
    assert_eq!(count(layers, "src/auth.rs", "use crate::http::routes;"), 1);
    assert_eq!(count(layers, "src/auth/keys.rs", "use crate::{error::Error, http, scoring::Scorer};"), 2);
    assert_eq!(count(layers, "src/auth/keys.rs", "use super::super::http::routes;"), 1);
    assert_eq!(count(layers, "src/auth/keys.rs", "use super::claims; mod inner { use super::super::claims; }"), 0);
    assert_eq!(count(layers, "src/auth.rs", "fn f() -> crate::app::App { crate::app::App::new() }"), 2);
    assert_eq!(count(layers, "src/auth.rs", "fn f() { assert!(crate::app::ready(), \"crate::cli::run\"); }"), 1);
    assert_eq!(count(layers, "src/surprise.rs", ""), 1, "a part that nobody ordered");
    assert_eq!(count(layers, "src/main.rs", "fn main() { rscore::cli::run() }"), 0);
    // Two parts that import each other: one of them goes up.
    let circle = count(layers, "src/tls.rs", "use crate::auth;") + count(layers, "src/auth.rs", "use crate::tls;");
    assert_eq!(circle, 1);
}

#[test]
fn tests_may_import_what_they_like() {
    let text = "#[cfg(test)] mod tests { use crate::http::routes; } #[cfg(test)] use crate::app;";
    assert_eq!(count(layers, "src/auth.rs", text), 0);
    assert_eq!(count(layers, "src/auth.rs", "#[cfg(not(test))] use crate::app;"), 1);
}

#[test]
fn crates_are_named_in_their_place() {
    assert_eq!(count(crates, "src/worker/r/convert.rs", "use extendr_ffi::SEXP;"), 0);
    assert_eq!(count(crates, "src/worker/transport.rs", "use extendr_ffi::SEXP;"), 1);
    assert_eq!(count(crates, "src/pool.rs", "fn f() { actix_web::rt::spawn(async {}); }"), 1);
    assert_eq!(count(crates, "src/http/routes.rs", "use actix_web::web;"), 0);
    assert_eq!(count(crates, "src/http/routes.rs", "fn f() { metrics::counter!(\"x\").increment(1); }"), 1);
    assert_eq!(count(crates, "src/http/routes.rs", "use metrics::counter; fn f() { counter!(\"x\"); }"), 1);
    let catalogued = "use crate::telemetry::metrics; fn f() { metrics::rejected(\"full\"); }";
    assert_eq!(count(crates, "src/http/routes.rs", catalogued), 0, "our own module of that name");
}

#[test]
fn the_environment_is_read_by_config() {
    let text = "fn f() { std::env::var(\"HOME\"); }";
    assert_eq!(count(environment, "src/config/environment.rs", text), 0);
    assert_eq!(count(environment, "src/tls.rs", text), 1);
    assert_eq!(count(environment, "src/tls.rs", "use std::env; fn f() { env::vars_os(); }"), 1);
    assert_eq!(count(environment, "src/tls.rs", "use std::env::var_os;"), 1);
    assert_eq!(count(environment, "src/tls.rs", "fn f() { println!(\"{:?}\", std::env::var_os(\"HOME\")); }"), 1);
    assert_eq!(count(environment, "src/tls.rs", "fn f() { std::env::current_exe(); env!(\"CARGO_PKG_VERSION\"); }"), 0);
}

#[test]
fn unsafe_is_found_in_every_form() {
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "struct S; impl S { unsafe fn f() {} }",
        "struct S; unsafe impl Send for S {}",
        "unsafe trait T {}",
        "unsafe extern \"C\" { fn f(); }",
        "#[unsafe(no_mangle)] fn f() {}",
        "#![allow(unsafe_code)]",
        "#[expect(unsafe_code, reason = \"none\")] fn f() {}",
        "#[cfg(test)] mod tests { fn f() { unsafe { g() } } }",
        "fn f() { assert!(unsafe { g() }); }",
    ] {
        assert_eq!(count(unsafe_code, "src/frame.rs", text), 1, "{text}");
        assert_eq!(count(unsafe_code, "src/worker/r/ffi.rs", text), 0, "{text}");
    }
    assert_eq!(count(unsafe_code, "src/frame.rs", "fn f() { let text = \"unsafe\"; } // unsafe"), 0);
}

#[test]
fn unsafe_blocks_need_an_argument() {
    let good = "fn f() {\n    // SAFETY: g has no preconditions.\n    let x =\n        unsafe { g() };\n}";
    assert_eq!(count(safety_comments, "src/worker/fork.rs", good), 0);
    assert_eq!(count(safety_comments, "src/worker/fork.rs", "fn f() {\n    unsafe { g() }\n}"), 1);
    let borrowed = "fn f() {\n    // SAFETY: g has no preconditions.\n    unsafe { g() };\n    unsafe { h() };\n}";
    assert_eq!(count(safety_comments, "src/worker/fork.rs", borrowed), 1);
    assert_eq!(count(safety_comments, "src/worker/fork.rs", "struct S;\nunsafe impl Send for S {}"), 1);
}

#[test]
fn tasks_are_guarded() {
    assert_eq!(count(tasks, "src/pool/output.rs", "fn f() { tokio::spawn(async {}); }"), 1);
    assert_eq!(count(tasks, "src/pool/output.rs", "use tokio::task::{JoinHandle, spawn};"), 1);
    assert_eq!(count(tasks, "src/pool/output.rs", "fn f() { background.spawn(\"reader\", async {}); }"), 0);
    assert_eq!(count(tasks, "src/pool/output.rs", "use tokio::task::spawn_blocking;"), 0);
    assert_eq!(count(tasks, "src/cli/batch/run.rs", "fn f() { tokio::spawn(async {}); }"), 0);
    assert_eq!(count(tasks, "src/pool.rs", "#[cfg(test)] mod tests { fn f() { tokio::spawn(async {}); } }"), 0);
}

#[test]
fn files_are_documented_and_short() {
    assert_eq!(count(module_documentation, "src/frame.rs", "//! Data.\n"), 0);
    assert_eq!(count(module_documentation, "src/frame.rs", "// Data.\nfn f() {}"), 1);
    assert_eq!(count(length, "src/frame.rs", &"\n".repeat(MAX_LINES)), 0);
    assert_eq!(count(length, "src/frame.rs", &"\n".repeat(MAX_LINES + 1)), 1);
}
