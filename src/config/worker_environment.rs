//! The environment of worker processes. Model code is foreign code: it sees what
//! R needs and what the operator names, not the server's own variables, which
//! may hold secrets.

use std::collections::BTreeMap;

use super::settings::WorkerSettings;

/// Variables that R and its packages need to start and to find their files.
const PASSED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "R_HOME",
    "R_LIBS",
    "R_LIBS_SITE",
    "R_LIBS_USER",
];

/// How R takes memory, unless the server's own environment says otherwise. A
/// `predict` that copies its model allocates megabytes per call: with glibc's
/// defaults each of these is mapped, zeroed page by page and given back to the
/// kernel, which cost a third of the time of a random forest of 100 trees. The heap
/// begins at half of R's own default, since each worker has one to itself; with less, R
/// collects all of it so often that one call in a hundred shows it (docs/performance.md).
const MEMORY: [(&str, &str); 3] =
    [("R_VSIZE", "32M"), ("MALLOC_MMAP_THRESHOLD_", "16777216"), ("MALLOC_TRIM_THRESHOLD_", "33554432")];

/// Variables that say how many threads a numeric library starts.
const THREADS: [&str; 4] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RCPP_PARALLEL_NUM_THREADS"];

/// Keeps the package cli, which dplyr and all of the tidyverse load, from starting a
/// thread for its progress bars: a process with threads can't be forked.
const WITHOUT_THREADS: [(&str, &str); 1] = [("CLI_NO_THREAD", "1")];

/// The environment of workers, from this process's own.
#[expect(clippy::disallowed_methods, reason = "the environment is read in config alone")]
pub fn worker_environment(settings: &WorkerSettings) -> Vec<(String, String)> {
    from(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        settings,
    )
}

fn from(variables: impl Iterator<Item = (String, String)>, settings: &WorkerSettings) -> Vec<(String, String)> {
    let mut chosen: BTreeMap<String, String> = variables
        .filter(|(name, _)| {
            PASSED.contains(&name.as_str())
                || MEMORY.iter().any(|(known, _)| known == name)
                || name.starts_with("LC_")
                || settings.environment.contains(name)
        })
        .collect();
    if !chosen.keys().any(|name| matches!(name.as_str(), "LANG" | "LC_ALL" | "LC_CTYPE")) {
        // A container without a locale would have R read UTF-8 as bytes.
        chosen.insert("LC_CTYPE".to_owned(), "C.UTF-8".to_owned());
    }
    for name in THREADS {
        chosen.entry(name.to_owned()).or_insert_with(|| settings.math_threads.to_string());
    }
    chosen.extend(WITHOUT_THREADS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, value) in MEMORY {
        chosen.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    // Empty means none: a profile of the person who starts the server must not
    // change what models compute ('Startup' in R's base package).
    chosen.insert("R_PROFILE_USER".to_owned(), String::new());
    chosen.insert("R_ENVIRON_USER".to_owned(), String::new());
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)], settings: &WorkerSettings) -> BTreeMap<String, String> {
        from(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), settings)
            .into_iter()
            .collect()
    }

    #[test]
    fn secrets_stay_with_the_server() {
        let settings = WorkerSettings { environment: vec!["MODEL_REGION".to_owned()], ..WorkerSettings::default() };
        let chosen = environment(
            &[("PATH", "/bin"), ("AZURE_STORAGE_KEY", "secret"), ("RSCORE_TOKEN", "secret"), ("MODEL_REGION", "north")],
            &settings,
        );
        assert_eq!(chosen.get("PATH").map(String::as_str), Some("/bin"));
        assert_eq!(chosen.get("MODEL_REGION").map(String::as_str), Some("north"));
        assert!(!chosen.values().any(|value| value == "secret"), "{chosen:?}");
    }

    #[test]
    fn one_math_thread_and_a_utf_8_locale_by_default() {
        let settings = WorkerSettings::default();
        let chosen = environment(&[], &settings);
        assert_eq!(chosen["OMP_NUM_THREADS"], "1");
        assert_eq!(chosen["LC_CTYPE"], "C.UTF-8");
        assert_eq!(chosen["R_PROFILE_USER"], "");
        assert_eq!(chosen["R_VSIZE"], "32M");
        assert_eq!(chosen["CLI_NO_THREAD"], "1");
        assert_eq!(environment(&[("R_VSIZE", "1G")], &settings)["R_VSIZE"], "1G");
        let chosen = environment(&[("LANG", "de_DE.UTF-8")], &settings);
        assert!(!chosen.contains_key("LC_CTYPE"));
    }
}
