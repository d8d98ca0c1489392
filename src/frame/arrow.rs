//! The streaming format of Arrow IPC: columns as they are, with their types,
//! which are checked against the schema.

mod batches;
mod columns;
mod decode;
mod encode;
mod messages;
mod misfits;
#[cfg(test)]
mod tests;
mod views;

pub(in crate::frame) use self::batches::{Batches, too_long};
pub(in crate::frame) use self::columns::is_readable;
pub use self::decode::ArrowDecoder;
pub use self::encode::ArrowEncoder;
pub(in crate::frame) use self::encode::{conform, nullable};
pub(in crate::frame) use self::messages::{CONTINUATION, is_compact};
