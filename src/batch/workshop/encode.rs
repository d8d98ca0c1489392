//! Kept columns and predictions to the bytes of an output.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;

use crate::error::Error;
use crate::frame::format::Format;
use crate::frame::stream::{EncodeOptions, encoder};

/// Encodes an output; gives its bytes and rows.
pub(super) fn encode(format: Format, kept: RecordBatch, predictions: RecordBatch) -> Result<(Bytes, u64), Error> {
    let rows = predictions.num_rows() as u64;
    let batch = beside_each_other(&kept, &predictions).map_err(|error| Error::internal(error.to_string()))?;
    let mut encoder = encoder(format, EncodeOptions::default());
    let mut out = Vec::new();
    encoder.header(&batch.schema(), &mut out)?;
    encoder.encode(&batch, &mut out)?;
    encoder.finish(&mut out)?;
    Ok((Bytes::from(out), rows))
}

fn beside_each_other(kept: &RecordBatch, predictions: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields = kept.schema_ref().fields().iter().chain(predictions.schema_ref().fields()).cloned();
    let columns = kept.columns().iter().chain(predictions.columns()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(predictions.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns, &options)
}
