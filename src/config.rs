//! Settings from file, environment and flags.

pub mod duration;
pub mod settings;

pub use settings::Settings;
