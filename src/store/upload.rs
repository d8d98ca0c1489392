//! Writes an object of unknown size in parts, so that it is never in memory as a
//! whole. It is visible when it is finished and not before.

use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutResult, WriteMultipart};

use super::error::{Result, StoreError};
use super::location::Location;

/// Bytes of one part. S3 wants at least 5 MiB and at most 10,000 parts: this
/// reaches 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts that are on their way at once.
const MAX_PARTS_AT_ONCE: usize = 4;

/// An object that is being written. Dropping it leaves the old object, if there
/// was one, as it is.
pub struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    location: Location,
    /// What does not fill a part so far.
    buffer: BytesMut,
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, path: Path, location: Location) -> Self {
        Self { objects, path, location, buffer: BytesMut::new(), parts: None }
    }

    /// Takes more bytes; waits while too many parts are on their way, so that
    /// memory stays below [`PART_BYTES`] times [`MAX_PARTS_AT_ONCE`] and one.
    ///
    /// # Errors
    /// The store's; the upload can't go on after one.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PART_BYTES {
            let part = self.buffer.split_to(PART_BYTES).freeze();
            self.send(part).await.map_err(|error| StoreError::about(&self.location, &error))?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let upload = self.objects.put_multipart(&self.path).await?;
                self.parts.insert(WriteMultipart::new_with_chunk_size(upload, PART_BYTES))
            }
        };
        parts.wait_for_capacity(MAX_PARTS_AT_ONCE).await?;
        parts.put(part);
        Ok(())
    }

    /// Makes the object visible, in place of what was there.
    ///
    /// # Errors
    /// The store's; the object may then be there or not.
    pub async fn finish(mut self) -> Result<Option<String>> {
        let rest = mem::take(&mut self.buffer).freeze();
        let written: object_store::Result<PutResult> = match self.parts.take() {
            // Small objects are one request.
            None => self.objects.put(&self.path, rest.into()).await,
            Some(mut parts) => {
                parts.put(rest);
                parts.finish().await
            }
        };
        written.map(|written| written.e_tag).map_err(|error| StoreError::about(&self.location, &error))
    }

    /// Gives up, and frees what the store holds of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn abort(mut self) -> Result<()> {
        match self.parts.take() {
            None => Ok(()),
            Some(parts) => parts.abort().await.map_err(|error| StoreError::about(&self.location, &error)),
        }
    }
}
