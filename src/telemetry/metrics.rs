//! x

/// x
pub fn worker_died(_model: &str, _version: u32, _reason: &'static str) {}
/// x
pub fn worker_started(_model: &str, _version: u32, _reason: &'static str) {}
