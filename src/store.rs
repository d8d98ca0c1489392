//! Objects in Azure Blob, Amazon S3, Google Cloud Storage or local folders,
//! behind one handle. It offers what all of them do alike and nothing more:
//! create if absent, overwrite, read what has a known etag, list, delete. Who
//! needs agreement between processes builds it on [`Store::put_new`] alone;
//! compare-and-swap is missing on purpose, since local files don't have it.
//!
//! Nothing but this part names the library that speaks the stores' protocols.

mod connect;
mod error;
mod leftovers;
mod location;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};

pub use self::error::{Result, StoreError, StoreErrorKind};
pub use self::location::{Location, Root};
pub use self::upload::Upload;
use crate::config::ProviderVariables;
use crate::config::settings::StoreSettings;

/// A folder of a store. Paths are relative to it; they have no leading slash and
/// no `..`. Cheap to clone; clones share their connections.
///
/// Every operation is a plain future: dropping it gives up waiting. A write that
/// was given up, timed out or lost its reply may have happened.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    location: Location,
}

/// What became of [`Store::put_new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was not there, and is now.
    Created,
    /// Something was there. It can be what this very call wrote, when a reply
    /// was lost and the request sent again: read it to be sure.
    Exists,
}

/// What a store says about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Path below the store's folder.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Changes whenever the object does. For local files it is made of inode,
    /// time of change and size.
    pub etag: Option<String>,
    /// When it was written, by the store's clock.
    pub last_modified: SystemTime,
}

/// Bytes of an object as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

impl Store {
    /// Opens the folder that a location names. Nothing is sent to the store yet;
    /// a local folder need not exist.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when variables or endpoint can't be used.
    pub fn open(location: &Location, settings: &StoreSettings, variables: &ProviderVariables) -> Result<Self> {
        Ok(Self { objects: connect::connect(location, settings, variables)?, location: location.clone() })
    }

    /// A store with a client of one's own, such as one that fails on purpose. The
    /// location says which folder of it is meant and how errors name it.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>, location: Location) -> Self {
        Self { objects, location }
    }

    /// The folder that paths are relative to.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// A folder below this one, over the same connections.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a path that could lead elsewhere.
    pub fn below(&self, path: &str) -> Result<Self> {
        Ok(Self { objects: Arc::clone(&self.objects), location: self.location.join(path)? })
    }

    /// Writes an object unless there is one. Of several callers at once exactly
    /// one is told [`PutOutcome::Created`], or none when its reply is lost.
    ///
    /// # Errors
    /// The store's. The object may have been written all the same.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        let (location, path) = self.object(path)?;
        match self.objects.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(PutOutcome::Created),
            // Stores differ in what they answer: 409, 412 or 304.
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. },
            ) => Ok(PutOutcome::Exists),
            Err(error) => Err(StoreError::about(&location, &error)),
        }
    }

    /// Writes an object in place of what was there; gives its etag.
    ///
    /// # Errors
    /// The store's. The object may have been written all the same.
    pub async fn overwrite(&self, path: &str, bytes: Bytes) -> Result<Option<String>> {
        let (location, path) = self.object(path)?;
        let written = self.objects.put(&path, bytes.into()).await;
        written.map(|written| written.e_tag).map_err(|error| StoreError::about(&location, &error))
    }

    /// Begins to write an object in parts, in place of what was there.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a path that could lead elsewhere.
    pub fn upload(&self, path: &str) -> Result<Upload> {
        let (location, path) = self.object(path)?;
        Ok(Upload::new(Arc::clone(&self.objects), path, location))
    }

    /// An object as a whole, of at most `max_bytes`.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], [`StoreErrorKind::TooLarge`], or the store's.
    pub async fn get(&self, path: &str, max_bytes: u64) -> Result<(ObjectInfo, Bytes)> {
        let (info, mut stream) = self.get_stream(path, None).await?;
        let too_large = |size: u64| {
            let location = self.location.join(path).map(|location| location.to_string()).unwrap_or_default();
            StoreError::new(
                StoreErrorKind::TooLarge,
                format!("{location}: {size} bytes are over the limit of {max_bytes}"),
            )
        };
        if info.size > max_bytes {
            return Err(too_large(info.size));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(info.size).unwrap_or_default());
        while let Some(chunk) = stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
            // A store may send more than it said.
            if bytes.len() as u64 > max_bytes {
                return Err(too_large(bytes.len() as u64));
            }
        }
        Ok((info, bytes.freeze()))
    }

    /// An object as it arrives; with an etag, only if it has that one.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], [`StoreErrorKind::Changed`], or the store's.
    pub async fn get_stream(&self, path: &str, etag: Option<&str>) -> Result<(ObjectInfo, ByteStream)> {
        let options = GetOptions { if_match: etag.map(str::to_owned), ..GetOptions::default() };
        let (location, got) = self.fetch(path, options).await?;
        let info = self.info(&got.meta);
        let stream = got.into_stream().map_err(move |error| StoreError::about(&location, &error));
        Ok((info, stream.boxed()))
    }

    /// The bytes of a range; with an etag, only if the object has that one. The
    /// range must lie within the object.
    ///
    /// # Errors
    /// As [`Store::get_stream`].
    pub async fn get_range(&self, path: &str, range: Range<u64>, etag: Option<&str>) -> Result<Bytes> {
        let options = GetOptions {
            if_match: etag.map(str::to_owned),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let (location, got) = self.fetch(path, options).await?;
        got.bytes().await.map_err(|error| StoreError::about(&location, &error))
    }

    /// Removes what killed processes have left of unfinished writes of these objects,
    /// where a store keeps that; gives how many there were. For objects that nobody is
    /// writing any more.
    ///
    /// # Errors
    /// A folder can't be read, or a file not be removed.
    pub async fn remove_leftovers(&self, paths: Vec<String>) -> Result<usize> {
        let store = self.clone();
        let removed = tokio::task::spawn_blocking(move || leftovers::remove(&store, &paths)).await;
        let failed = |error: &dyn fmt::Display| {
            StoreError::new(StoreErrorKind::Failed, format!("{}: leftovers of writes: {error}", self.location))
        };
        removed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// What the store says about an object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], or the store's.
    pub async fn head(&self, path: &str) -> Result<ObjectInfo> {
        let (location, path) = self.object(path)?;
        let meta = self.objects.head(&path).await.map_err(|error| StoreError::about(&location, &error))?;
        Ok(self.info(&meta))
    }

    /// Every object below a folder of the store, as pages arrive, in no order
    /// that all stores share. A folder that does not exist is empty; a name that
    /// begins like the folder's is not in it.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a folder that could lead elsewhere; in the
    /// stream, the store's.
    pub fn list(&self, folder: &str) -> Result<BoxStream<'static, Result<ObjectInfo>>> {
        let location = self.location.join(folder)?;
        let prefix = parse(&location)?;
        let (own, objects) = (self.clone(), Arc::clone(&self.objects));
        let prefix = (!prefix.as_ref().is_empty()).then_some(prefix);
        let listed = objects.list(prefix.as_ref());
        let listed = listed.filter_map(move |entry| {
            let entry = match entry {
                Ok(meta) => Some(Ok(own.info(&meta))),
                // A local folder that is not there, or a file that went away.
                Err(error) => match StoreError::about(&location, &error) {
                    error if error.kind() == StoreErrorKind::NotFound && own.is_local() => None,
                    error => Some(Err(error)),
                },
            };
            std::future::ready(entry)
        });
        Ok(listed.boxed())
    }

    /// Removes an object. One that is not there is none the less removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (location, path) = self.object(path)?;
        match self.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::about(&location, &error)),
        }
    }

    fn is_local(&self) -> bool {
        *self.location.root() == Root::Local
    }

    /// Full location, for errors, and the library's path of an object.
    fn object(&self, path: &str) -> Result<(Location, Path)> {
        if path.is_empty() {
            return Err(StoreError::new(StoreErrorKind::Invalid, "an object has a name; the path is empty"));
        }
        let location = self.location.join(path)?;
        let path = parse(&location)?;
        Ok((location, path))
    }

    async fn fetch(&self, path: &str, options: GetOptions) -> Result<(Location, GetResult)> {
        let (location, path) = self.object(path)?;
        match self.objects.get_opts(&path, options).await {
            Ok(got) => Ok((location, got)),
            Err(error) => Err(StoreError::about(&location, &error)),
        }
    }

    fn info(&self, meta: &ObjectMeta) -> ObjectInfo {
        let full = meta.location.as_ref();
        let below = full.strip_prefix(self.location.path()).map(|path| path.trim_start_matches('/'));
        ObjectInfo {
            path: below.unwrap_or(full).to_owned(),
            size: meta.size,
            etag: meta.e_tag.as_deref().map(quoted),
            last_modified: meta.last_modified.into(),
        }
    }
}

/// Azure gives an etag in quotes, and without them when it lists.
fn quoted(etag: &str) -> String {
    if etag.starts_with("0x") { format!("\"{etag}\"") } else { etag.to_owned() }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.location.to_string()).finish()
    }
}

fn parse(location: &Location) -> Result<Path> {
    Path::parse(location.path())
        .map_err(|error| StoreError::new(StoreErrorKind::Invalid, format!("{location}: {error}")))
}
