//! Batch scoring: partitions of blob storage through the workers that `serve`
//! uses, safe to run in several processes at once, to kill, and to run again.
//!
//! A job file becomes a run with a frozen plan of partitions. A partition is the
//! unit of fetch, score, retry, commit and log; its commit, the creation of one
//! object, is the only truth about it. `docs/batch.md` argues the protocol.

pub mod bundle;
pub mod claim;
pub mod commit;
pub mod cron;
pub mod digest;
pub mod finish;
pub mod job;
pub mod join;
pub mod layout;
pub mod objects;
pub mod operate;
pub mod plan;
pub mod planner;
pub mod progress;
pub mod record;
pub mod records;
pub mod report;
pub mod run;
pub mod seed;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod sites;
pub mod template;
pub mod workshop;
