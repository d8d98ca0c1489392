//! Model bundles on disk: a repository of models, each a folder of versions,
//! each version a folder with an R object and, if need be, a manifest, a scoring
//! script, a sample and what the sample must give.

pub mod bundle;
mod lease;
pub mod manifest;
pub mod remote;
pub mod repository;
pub mod watch;

pub use bundle::{Bundle, BundleError};
pub use manifest::Manifest;
