//! The listeners through real sockets, with real tokens and real codecs; only
//! the engine behind [`Score`](crate::scoring::Score) is scripted.

mod bodies;
mod drain;
mod formats;
mod harness;
mod metadata;
mod operator;
mod predict;
mod refusals;
mod streams;
mod table;
mod tls;
