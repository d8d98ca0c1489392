//! Which build this is, as `--version` and the metric `rscore_build_info` say it.

use std::sync::LazyLock;

/// Version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that was built, when the build was told (`GIT_COMMIT` at compile time).
pub const COMMIT: Option<&str> = option_env!("GIT_COMMIT");

/// `debug` or `release`.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    format!("{VERSION} ({}-{}, {PROFILE}{commit})", std::env::consts::ARCH, std::env::consts::OS)
});

/// Version and build on one line. Says nothing about R, which is found at run time.
pub fn description() -> &'static str {
    &DESCRIPTION
}
