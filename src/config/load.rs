//! Layers the sources over each other and checks the result.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::{self, Environment};
use super::keys;
use super::layers::{FlagValue, Layer};
use super::problem::{ConfigError, Origin, Problem};
use super::settings::Settings;
use super::validate::{Purpose, validate};

/// The file that is read from the current directory when none is named.
pub(super) const DEFAULT_FILE: &str = "rscore.toml";

/// Address of the callers' listener in development, where the default would be
/// reachable from outside.
const DEVELOPMENT_LISTEN: &str = "127.0.0.1:8443";

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// Where [`DEFAULT_FILE`] is looked for.
    pub directory: PathBuf,
    /// Variables.
    pub environment: Environment,
    /// Flags.
    pub flags: Vec<FlagValue>,
    /// What the settings are for; `--dev` makes it [`Purpose::Development`].
    pub purpose: Purpose,
}

/// Settings that passed every check.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each key's value came from.
    pub origins: BTreeMap<String, Origin>,
    /// What they are for, after `RSCORE_DEV` was looked at.
    pub purpose: Purpose,
}

/// Reads all sources.
///
/// # Errors
/// Every mistake that was found, in all sources.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let purpose = purpose(sources, &mut problems);

    let mut layers = Vec::new();
    if purpose == Purpose::Development {
        layers.push(Layer::replacing_default("server.listen", DEVELOPMENT_LISTEN, Origin::Development));
    }
    if let Some(path) = file(sources) {
        layers.push(Layer::from_file(&path, &mut problems));
    }
    layers.push(Layer::from_environment(&sources.environment, &mut problems));
    layers.push(Layer::from_flags(&sources.flags, &mut problems));

    let mut origins: BTreeMap<String, Origin> =
        keys::defaults().keys().map(|key| (key.clone(), Origin::Default)).collect();
    for entry in layers.iter().flat_map(|layer| &layer.entries) {
        origins.insert(entry.key.clone(), entry.origin.clone());
    }

    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().and_then(::config::Config::try_deserialize::<Settings>);
    let settings = match merged {
        Ok(settings) => settings,
        Err(error) => {
            problems.push(Problem::rule("settings", error.to_string()));
            return Err(ConfigError { problems });
        }
    };

    let mut broken = validate(&settings, purpose);
    // A rule about a key whose value could not be read would judge its default.
    broken.retain(|rule| problems.iter().all(|problem| problem.key != rule.key));
    for problem in &mut broken {
        problem.origin = origins.get(&problem.key).filter(|origin| **origin != Origin::Default).cloned();
    }
    problems.extend(broken);
    if problems.is_empty() { Ok(Loaded { settings, origins, purpose }) } else { Err(ConfigError { problems }) }
}

/// The configuration file: by flag, by environment, or the default one if it exists.
fn file(sources: &Sources) -> Option<PathBuf> {
    let named = sources.file.clone().or_else(|| sources.environment.get(environment::CONFIG_FILE).map(PathBuf::from));
    named.or_else(|| Some(sources.directory.join(DEFAULT_FILE)).filter(|path| path.exists()))
}

fn purpose(sources: &Sources, problems: &mut Vec<Problem>) -> Purpose {
    match (sources.purpose, sources.environment.get(environment::DEVELOPMENT)) {
        (Purpose::Serve, Some("true")) => Purpose::Development,
        (purpose, None | Some("true" | "false")) => purpose,
        (purpose, Some(other)) => {
            let name = environment::DEVELOPMENT;
            let origin = Origin::Environment(name.to_owned());
            problems.push(Problem::value("development mode", &origin, &other.into(), "true or false"));
            purpose
        }
    }
}

#[cfg(test)]
mod tests;
