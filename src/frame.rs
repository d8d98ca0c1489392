//! Data between doors and workers: the schema of a model's inputs, and the
//! codecs between bytes and typed Arrow record batches.

pub mod arrow;
pub(crate) mod cells;
pub(crate) mod column;
pub mod csv;
pub mod digest;
pub(crate) mod findings;
pub mod format;
pub mod join;
pub mod json;
pub(crate) mod names;
pub(crate) mod number;
pub mod parquet;
pub(crate) mod render;
pub mod rows;
pub mod schema;
pub mod stream;
pub(crate) mod table;
pub(crate) mod temporal;
#[cfg(test)]
pub(crate) mod testing;
pub mod whole;
