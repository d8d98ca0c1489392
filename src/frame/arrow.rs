//! The streaming format of Arrow IPC: columns as they are, with their types,
//! which are checked against the schema.

mod encode;

pub use self::encode::ArrowEncoder;
pub(in crate::frame) use self::encode::{conform, no_header, nullable};
