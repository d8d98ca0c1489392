//! Frames as the body of a message: Arrow IPC streams one after the other, with
//! names and lengths in the head.

use std::io;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use super::invalid;
use crate::frame::schema::Inputs;

/// Name of a frame and its bytes in the body.
pub(super) type FrameEntry = (String, u32);

/// Appends the frames to a body and lists them.
pub(super) fn write_inputs(inputs: &Inputs<RecordBatch>, body: &mut Vec<u8>) -> io::Result<Vec<FrameEntry>> {
    inputs.iter().map(|(name, batch)| Ok((name.to_owned(), write_frame(batch, body)?))).collect()
}

/// Reads the frames that a head lists.
pub(super) fn read_inputs(entries: Vec<FrameEntry>, body: &[u8]) -> io::Result<Inputs<RecordBatch>> {
    let mut rest = body;
    let mut frames = Vec::with_capacity(entries.len());
    for (name, length) in entries {
        let (bytes, after) = rest.split_at_checked(length as usize).ok_or_else(|| invalid("a frame is cut short"))?;
        frames.push((name, read_frame(bytes)?));
        rest = after;
    }
    Ok(Inputs::named(frames))
}

pub(super) fn write_frame(batch: &RecordBatch, out: &mut Vec<u8>) -> io::Result<u32> {
    let start = out.len();
    let mut writer = StreamWriter::try_new(&mut *out, batch.schema_ref()).map_err(arrow_error)?;
    writer.write(batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    drop(writer);
    u32::try_from(out.len() - start).map_err(|_| invalid("a frame of more than 4 GiB can't be sent"))
}

pub(super) fn read_frame(bytes: &[u8]) -> io::Result<RecordBatch> {
    let mut reader = StreamReader::try_new(bytes, None).map_err(arrow_error)?;
    reader.next().ok_or_else(|| invalid("a frame without a record batch"))?.map_err(arrow_error)
}

fn arrow_error(error: arrow_schema::ArrowError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
