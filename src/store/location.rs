//! Where data is, as people write it: `az://container/path`, `s3://bucket/path`,
//! `gs://bucket/path`, `file:///path`, or the path of a folder or file here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::{StoreError, StoreErrorKind};

/// A place in a store or in the file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    root: Root,
    /// Below the root, without slashes at its ends; empty for the root itself.
    path: String,
}

/// What a location is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// A container of the Azure Blob account that the environment names.
    Azure(String),
    /// A bucket of Amazon S3 or a store that speaks its protocol.
    S3(String),
    /// A bucket of Google Cloud Storage.
    Google(String),
    /// The file system of this machine.
    Local,
}

/// Schemes of other tools, and what to write instead.
const OTHER_SCHEMES: &[(&str, &str)] = &[
    ("azure", "az://container/path"),
    ("abfs", "az://container/path"),
    ("abfss", "az://container/path"),
    ("wasbs", "az://container/path"),
    ("adl", "az://container/path"),
    ("s3a", "s3://bucket/path"),
    ("gcs", "gs://bucket/path"),
    ("http", "az://container/path, s3://bucket/path or gs://bucket/path; the environment names account and endpoint"),
    ("https", "az://container/path, s3://bucket/path or gs://bucket/path; the environment names account and endpoint"),
];

impl Location {
    /// Whether the text names a store, as opposed to a path of this machine.
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// Reads a location; a relative path is relative to the current directory.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] with what to write instead. The text is not
    /// repeated where it may hold a secret.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Self::local(Path::new(text)) };
        if scheme == "file" {
            return match rest.starts_with('/') {
                true => Self::local(Path::new(rest)),
                false => Err(invalid(format!("'{text}': a file URL has three slashes, as in file:///data/models"))),
            };
        }
        let root: fn(String) -> Root = match scheme {
            "az" => Root::Azure,
            "s3" => Root::S3,
            "gs" => Root::Google,
            other => return Err(invalid(unknown_scheme(other))),
        };
        if rest.contains('?') {
            return Err(invalid(format!(
                "a {scheme}:// location has no '?'; a SAS token or key goes into the environment, never into a location"
            )));
        }
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        if name.contains('@') || name.contains(':') {
            return Err(invalid(format!(
                "a {scheme}:// location names a container or bucket only; account, key and endpoint come from the \
                 environment"
            )));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$');
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(invalid(format!(
                "'{text}': expected a container or bucket after {scheme}://, as in {scheme}://models/production"
            )));
        }
        let path = path.trim_end_matches('/');
        check_path(path).map_err(|reason| invalid(format!("'{text}': {reason}")))?;
        Ok(Self { root: root(name.to_owned()), path: path.to_owned() })
    }

    fn local(path: &Path) -> Result<Self, StoreError> {
        let absolute = std::path::absolute(path)
            .map_err(|error| invalid(format!("'{}' is not a path: {error}", path.display())))?;
        let Some(text) = absolute.to_str() else {
            return Err(invalid(format!("{} is not valid UTF-8", absolute.display())));
        };
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match part {
                ".." => _ = parts.pop(),
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        check_path(&path).map_err(|reason| invalid(format!("'{text}': {reason}")))?;
        Ok(Self { root: Root::Local, path })
    }

    /// What it is in.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The path below container, bucket or `/`, without slashes at its ends.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its path on this machine, if it is here.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.root == Root::Local).then(|| Path::new("/").join(&self.path))
    }

    /// A place below it.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a name that could lead elsewhere.
    pub fn join(&self, below: &str) -> Result<Self, StoreError> {
        check_path(below).map_err(|reason| invalid(format!("'{below}': {reason}")))?;
        let path = match (self.path.as_str(), below) {
            (path, "") => path.to_owned(),
            ("", below) => below.to_owned(),
            (path, below) => format!("{path}/{below}"),
        };
        Ok(Self { root: self.root.clone(), path })
    }

    /// The folder that it is in, and its last name; none for a root.
    pub fn split(&self) -> Option<(Self, &str)> {
        let (folder, name) = match self.path.rsplit_once('/') {
            Some(parts) => parts,
            None if self.path.is_empty() => return None,
            None => ("", self.path.as_str()),
        };
        Some((Self { root: self.root.clone(), path: folder.to_owned() }, name))
    }
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Azure(container) => write!(f, "az://{container}/{}", self.path),
            Root::S3(bucket) => write!(f, "s3://{bucket}/{}", self.path),
            Root::Google(bucket) => write!(f, "gs://{bucket}/{}", self.path),
            Root::Local => write!(f, "/{}", self.path),
        }
    }
}

/// Whether a path of an object stays where it seems to be: no empty part, no `.`
/// or `..`, no backslash, no control character.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.chars().any(char::is_control) {
        return Err("a path has no control characters");
    }
    if path.contains('\\') {
        return Err("a path has no backslashes; its parts are separated by '/'");
    }
    if path.is_empty() {
        return Ok(());
    }
    match path.split('/').find(|part| part.is_empty() || *part == "." || *part == "..") {
        None => Ok(()),
        Some("") => Err("a path has no empty part, neither '//' nor a slash at its ends"),
        Some(_) => Err("a path has no '.' and no '..'"),
    }
}

fn unknown_scheme(scheme: &str) -> String {
    let scheme = scheme.to_ascii_lowercase();
    match OTHER_SCHEMES.iter().find(|(other, _)| *other == scheme) {
        Some((_, instead)) => format!("{scheme}:// is not known here; write {instead}"),
        None => "expected az://, s3://, gs://, file:/// or a path of this machine".to_owned(),
    }
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["az://models/", "az://models/production/v1", "s3://a.b-c/x y/ü", "gs://bucket_1/a", "/data/models"]
        {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("az://models").unwrap(), Location::parse("az://models//").unwrap());
        assert_eq!(Location::parse("file:///data/../x/").unwrap().to_string(), "/x");
        let here = std::env::current_dir().unwrap();
        assert_eq!(Location::parse("models").unwrap().local_path(), Some(here.join("models")));
    }

    #[test]
    fn places_are_joined_and_split() {
        let place = Location::parse("az://models/a/b").unwrap();
        assert_eq!(place.join("c/d").unwrap().to_string(), "az://models/a/b/c/d");
        assert_eq!(place.join("").unwrap(), place);
        let (folder, name) = place.split().unwrap();
        assert_eq!((folder.to_string().as_str(), name), ("az://models/a", "b"));
        assert_eq!(Location::parse("az://models/").unwrap().split(), None);
        assert_eq!(Location::parse("az://models/").unwrap().join("a").unwrap().to_string(), "az://models/a");
        for bad in ["../x", "a/../b", "a//b", "/a", "a/", ".", "a\\b", "a\nb"] {
            assert!(place.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, expected) in [
            ("https://account.blob.core.windows.net/c/p?sv=1&sig=swordfish", "az://container/path"),
            ("S3A://bucket/path", "s3://bucket/path"),
            ("ftp://x", "expected az://"),
            ("az://", "after az://"),
            ("az:///path", "after az://"),
            ("file://models", "three slashes"),
            ("az://container/path?sig=swordfish", "environment"),
            ("s3://key:swordfish@bucket/path", "environment"),
            ("s3://bucket/a/../../b", "'..'"),
            ("s3://bucket/a//b", "empty part"),
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("swordfish"), "{error}");
        }
    }
}
