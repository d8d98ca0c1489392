//! Rows to an Arrow stream. All batches of a stream have the columns of its
//! beginning.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Schema as ArrowSchema};

use crate::error::{Error, Result};
use crate::frame::stream::{Encoder, check_columns, no_header};

/// Writes rows as one Arrow stream.
#[derive(Default)]
pub struct ArrowEncoder {
    writer: Option<StreamWriter<Vec<u8>>>,
    schema: Option<Arc<ArrowSchema>>,
}

impl ArrowEncoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder for ArrowEncoder {
    fn header(&mut self, schema: &Arc<ArrowSchema>, out: &mut Vec<u8>) -> Result<()> {
        let schema = nullable(schema);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(Error::internal)?;
        out.append(writer.get_mut());
        self.writer = Some(writer);
        self.schema = Some(schema);
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let (Some(writer), Some(schema)) = (&mut self.writer, &self.schema) else { return Err(no_header()) };
        writer.write(&conform(batch, schema)?).map_err(Error::internal)?;
        out.append(writer.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(no_header)?;
        writer.finish().map_err(Error::internal)?;
        out.append(writer.get_mut());
        Ok(())
    }
}

/// The schema of a stream whose later batches may have nulls where the first has
/// none.
pub(in crate::frame) fn nullable(schema: &ArrowSchema) -> Arc<ArrowSchema> {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// The batch with the columns that the stream has: integers may become doubles,
/// and a column of nothing but nulls anything, since R gives such types as the
/// values happen to have.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when no value would stay what it is.
pub(in crate::frame) fn conform(batch: &RecordBatch, schema: &Arc<ArrowSchema>) -> Result<RecordBatch> {
    let known = schema.fields();
    check_columns(batch, schema)?;
    let columns = batch.columns().iter().zip(known).map(|(column, field)| {
        let (got, wanted) = (column.data_type(), field.data_type());
        Ok(match (got, wanted) {
            _ if got == wanted => Arc::clone(column),
            (DataType::Int32, DataType::Float64) => {
                let integers = column.as_primitive::<Int32Type>();
                Arc::new(Float64Array::from_iter(integers.iter().map(|value| value.map(f64::from)))) as ArrayRef
            }
            _ if column.null_count() == column.len() => new_null_array(wanted, column.len()),
            _ => {
                let name = field.name();
                let text = format!("the prediction '{name}' is {got} after rows in which it was {wanted}");
                return Err(Error::internal(text));
            }
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::internal)
}
