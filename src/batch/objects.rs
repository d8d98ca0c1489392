//! The few verbs of a store that the protocol trusts: create if absent,
//! overwrite, read, list, remove. All paths are below one folder.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A future that answers a verb.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreTrouble>> + Send + 'a>>;

/// The store did not do what it was asked, or its answer got lost: the verb may
/// have had its effect or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StoreTrouble {
    text: String,
    permanent: bool,
}

impl StoreTrouble {
    /// Trouble that may be over when the same is tried again.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), permanent: false }
    }

    /// Trouble that stays until somebody changes something, such as credentials.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self { text: text.into(), permanent: true }
    }

    /// The same trouble, with what it is about before it.
    pub fn about(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// Whether trying again is no use.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// What a create-if-absent did, as far as the answer can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// There was one.
    Exists,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub size: u64,
}

/// Objects below one folder.
pub trait Objects: Send + Sync {
    /// Writes an object that doesn't exist.
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, Created>;

    /// Writes an object, whether it exists or not.
    fn write<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()>;

    /// Reads an object; none when it doesn't exist.
    fn read<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Bytes>>;

    /// All objects whose paths begin with a folder, which ends in a slash.
    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>>;

    /// Removes an object; one that doesn't exist is removed already.
    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;
}

/// A document as bytes.
pub fn to_json<T: Serialize>(document: &T) -> Result<Bytes, StoreTrouble> {
    serde_json::to_vec(document)
        .map(Bytes::from)
        .map_err(|error| StoreTrouble::new(format!("a document can't be written: {error}")))
}

/// Reads a document; none when it doesn't exist.
///
/// # Errors
/// The store's, or an object that is not such a document.
pub async fn read_json<T: DeserializeOwned>(objects: &dyn Objects, path: &str) -> Result<Option<T>, StoreTrouble> {
    let Some(bytes) = objects.read(path).await? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreTrouble::permanent(format!("{path} is not what it should be: {error}")))
}
