//! rscore serves R models over HTTPS from a bounded pool of forked workers.
//! `ARCHITECTURE.md` is the map; this list follows a request from top to bottom.

pub mod app;
pub mod auth;
pub mod batch;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod error;
pub mod frame;
pub mod http;
pub mod lifecycle;
pub mod model;
mod pem;
pub mod pool;
pub mod scoring;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod worker;
