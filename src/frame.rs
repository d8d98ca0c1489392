//! Data between doors and workers: the schema of a model's inputs, and the
//! codecs between bytes on the wire and typed Arrow record batches.

pub(crate) mod column;
pub mod join;
pub mod json;
pub mod rows;
pub mod schema;
pub(crate) mod temporal;
