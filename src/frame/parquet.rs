//! Parquet, whose index stands at the end of the file: it is read when all of it
//! is there, and written row group by row group.

mod decode;
mod delta;
mod encode;
mod footer;
mod groups;
mod pages;
mod thrift;

pub use self::decode::{ParquetDecoder, decoded_bytes};
pub use self::encode::ParquetEncoder;
pub use self::groups::{RowGroup, RowGroups, TAIL, footer_length};
