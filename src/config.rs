//! Settings from file, environment and flags: the only place that reads the
//! process environment. A later layer wins over an earlier one, key by key:
//!
//! 1. the defaults of [`Settings`],
//! 2. the file that `--config` or `RSCORE_CONFIG` names, else `rscore.toml` in
//!    the current directory when there is one,
//! 3. `RSCORE_SECTION__KEY` in the environment,
//! 4. flags.
//!
//! Every mistake of every layer is reported at once. Relative paths are
//! relative to the current directory, wherever they are written. Secrets are
//! never settings: a setting names the file that holds one.

pub mod duration;
mod engine;
pub mod environment;
mod keys;
mod layers;
mod load;
pub mod problem;
mod provider_variables;
pub mod reference;
pub mod settings;
mod show;
mod validate;
mod worker_environment;

pub use engine::{EngineShard, EngineVariables};
pub use environment::Environment;
pub use layers::FlagValue;
pub use load::{Loaded, Sources, load};
pub use problem::{ConfigError, Origin, Problem};
pub use provider_variables::ProviderVariables;
pub use settings::Settings;
pub use show::effective_toml;
pub use validate::{Purpose, validate};
pub use worker_environment::worker_environment;
