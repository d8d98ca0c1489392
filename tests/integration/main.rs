//! Integration tests: the worker's protocol with real R, and the server through
//! its front door. One binary, so that the crate is linked once.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod batch;
mod batching;
mod capacity;
mod clients;
mod engine;
mod forecast;
mod frames;
mod logs;
mod metadata;
mod refusals;
mod reload;
mod remote;
mod startup;
mod stopping;
mod store;
mod streams;
mod support;
mod tidy;
mod tokens;
mod warmth;
mod workers;
mod zoo;
