//! Rows to Parquet. A row group is written whenever its rows take up some memory,
//! so that a file of any length can be written with little of it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::error::{Error, Result};
use crate::frame::arrow::{conform, nullable};
use crate::frame::stream::{Encoder, no_header};

/// Bytes of encoded columns that are held until they are a row group.
const ROW_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Writes rows as one Parquet file, compressed with Snappy, which every reader has.
#[derive(Default)]
pub struct ParquetEncoder {
    writer: Option<ArrowWriter<Vec<u8>>>,
    schema: Option<Arc<ArrowSchema>>,
}

impl ParquetEncoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder for ParquetEncoder {
    fn header(&mut self, schema: &Arc<ArrowSchema>, _: &mut Vec<u8>) -> Result<()> {
        let schema = nullable(schema);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties));
        self.writer = Some(writer.map_err(Error::internal)?);
        self.schema = Some(schema);
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let (Some(writer), Some(schema)) = (&mut self.writer, &self.schema) else { return Err(no_header()) };
        writer.write(&conform(batch, schema)?).map_err(Error::internal)?;
        if writer.in_progress_size() >= ROW_GROUP_BYTES {
            writer.flush().map_err(Error::internal)?;
        }
        out.append(writer.inner_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(no_header)?;
        writer.finish().map_err(Error::internal)?;
        out.append(writer.inner_mut());
        Ok(())
    }
}
