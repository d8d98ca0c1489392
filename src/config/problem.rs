//! What can be wrong with the configuration, in words for the operator.

use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with the configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The mistakes; never empty.
    pub problems: Vec<Problem>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key that it is about, such as `server.listen`; for an unknown name
    /// or a file as a whole, that name.
    pub key: String,
    /// The layer that the value came from, when one is to blame.
    pub origin: Option<Origin>,
    /// What was got and what is expected.
    pub message: String,
}

/// The layer that a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment, by name.
    Environment(String),
    /// A flag, with its dashes.
    Flag(String),
    /// Follows from `--dev`.
    Development,
}

/// How much of a wrong value is shown, in characters.
const SHOWN_CHARACTERS: usize = 80;

impl Problem {
    /// A rule that the effective settings break.
    pub fn rule(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), origin: None, message: message.into() }
    }

    /// A value that can't be read as what the key needs.
    pub(crate) fn value(key: &str, origin: &Origin, got: &serde_json::Value, expected: &str) -> Self {
        Self {
            key: key.to_owned(),
            origin: Some(origin.clone()),
            message: format!("got {}, expected {expected}", shorten(&got.to_string())),
        }
    }

    /// A name that no setting has. The value is left out on purpose: it may be
    /// a secret that was meant for something else.
    pub(crate) fn unknown(name: &str, origin: &Origin, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
        Self {
            key: shorten(name),
            origin: Some(origin.clone()),
            message: format!("there is no such setting{hint} (rscore config --reference lists all)"),
        }
    }

    /// A source that can't be read at all.
    pub(crate) fn source(name: &str, origin: Origin, message: impl Into<String>) -> Self {
        Self { key: name.to_owned(), origin: Some(origin), message: message.into() }
    }
}

/// Cuts text to what fits a line of an error message.
fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match clean.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}... ({} characters)", &clean[..end], clean.chars().count()),
        None => clean,
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Development => f.write_str("default of --dev"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            // An unknown variable is its own origin.
            Some(Origin::Environment(name)) if *name == self.key => write!(f, "environment {name}: {}", self.message),
            Some(origin) => write!(f, "{} ({origin}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has 1 problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_unprintable_values_are_cut() {
        let long = serde_json::Value::String("x".repeat(1000));
        let problem = Problem::value("server.threads", &Origin::Default, &long, "a whole number");
        assert!(problem.message.len() < 200, "{}", problem.message);
        assert!(problem.message.contains("(1002 characters)"), "{}", problem.message);
        assert_eq!(shorten("a\u{1b}[31m"), "a\u{fffd}[31m");
    }

    #[test]
    fn the_list_names_each_problem_and_where_it_came_from() {
        let error = ConfigError {
            problems: vec![
                Problem::unknown("servr.listen", &Origin::File("rscore.toml".into()), Some("server.listen")),
                Problem::rule("tls.key", "is needed too"),
            ],
        };
        assert_eq!(
            error.to_string(),
            "the configuration has 2 problems:\n  \
             - servr.listen (file rscore.toml): there is no such setting; did you mean 'server.listen'? \
             (rscore config --reference lists all)\n  \
             - tls.key: is needed too"
        );
    }
}
