//! The store layer: one suite for every store, and what failing ones do.

mod conformance;
mod failures;
