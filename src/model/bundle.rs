//! One version of a model on disk. A bundle's files are code as far as trust
//! goes (reading an RDS can run R code), so their digest is recorded.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::Manifest;
use super::lease::Lease;
use super::manifest::ManifestError;
use super::watch::{Fingerprint, fingerprint};

/// Largest sample or expected file in bytes.
const MAX_SAMPLE: u64 = 16 * 1024 * 1024;

/// The files of one version.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Absolute path of the version's folder.
    pub directory: PathBuf,
    /// The manifest, or its defaults.
    pub manifest: Manifest,
    /// Absolute path of the scoring script, if there is one.
    pub script: Option<PathBuf>,
    /// Sample input in the native door's JSON.
    pub sample: Option<String>,
    /// What the sample must give: the answer's `predictions`.
    pub expected: Option<String>,
    /// What its files were when it was read.
    pub identity: Identity,
}

/// What the files of a folder were. The folder of a mirror stays while this or a
/// clone of it lives.
#[derive(Debug, Clone)]
pub struct Identity {
    directory: PathBuf,
    _lease: Lease,
    /// What they looked like from outside before they were read.
    fingerprint: Option<Fingerprint>,
    /// SHA-256 over names and contents of all files, hexadecimal.
    pub digest: String,
}

/// Why a folder is not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Neither model nor script.
    #[error("{} has neither model.rds nor a scoring script; it must be the folder of a version, such as boston/1, with one of them", .0.display())]
    Empty(PathBuf),
    /// The manifest names a script that isn't there.
    #[error("the manifest names the script '{0}', which the bundle doesn't have")]
    MissingScript(String),
    /// `expected.json` alone checks nothing.
    #[error("expected.json needs a sample.json beside it")]
    ExpectedWithoutSample,
    /// The path can't be handed to R.
    #[error("{} is not valid UTF-8", .0.display())]
    BadPath(PathBuf),
}

impl Identity {
    fn read(directory: &Path, lease: Lease, fingerprint: Option<Fingerprint>) -> Result<Self, BundleError> {
        Ok(Self { directory: directory.to_owned(), _lease: lease, fingerprint, digest: digest(directory)? })
    }

    /// Whether the folder still has these files: it looks the same from outside, or
    /// else its contents are the same.
    pub fn still_holds(&self) -> bool {
        let now = fingerprint(&self.directory).ok().flatten();
        (now.is_some() && now == self.fingerprint) || digest(&self.directory).is_ok_and(|now| now == self.digest)
    }
}

impl Bundle {
    /// Reads a version's folder.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn open(directory: &Path) -> Result<Self, BundleError> {
        let directory = directory
            .canonicalize()
            .map_err(|source| BundleError::Unreadable { path: directory.to_owned(), source })?;
        if directory.to_str().is_none() {
            return Err(BundleError::BadPath(directory));
        }
        let lease =
            Lease::take(&directory).map_err(|source| BundleError::Unreadable { path: directory.clone(), source })?;
        // Before anything is read: what is written meanwhile is found out later.
        let fingerprint = fingerprint(&directory).ok().flatten();
        let manifest = match read_text(&directory, "rscore.toml")? {
            Some(text) => Manifest::parse(&text)?,
            None => Manifest::default(),
        };
        let script = match &manifest.script {
            Some(name) => Some(file(&directory, name)?.ok_or_else(|| BundleError::MissingScript(name.clone()))?),
            None => file(&directory, "score.R")?,
        };
        if script.is_none() && file(&directory, "model.rds")?.is_none() {
            return Err(BundleError::Empty(directory));
        }
        let sample = read_text(&directory, "sample.json")?;
        let expected = read_text(&directory, "expected.json")?;
        if expected.is_some() && sample.is_none() {
            return Err(BundleError::ExpectedWithoutSample);
        }
        let identity = Identity::read(&directory, lease, fingerprint)?;
        Ok(Self { directory, manifest, script, sample, expected, identity })
    }
}

impl Bundle {
    /// The names of its folders, as in a repository: `boston/2` is version 2 of
    /// `boston`.
    pub fn name_and_version(&self) -> (String, u32) {
        let name = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let version = name(Some(&self.directory)).and_then(|version| version.parse().ok()).unwrap_or(1);
        (name(self.directory.parent()).unwrap_or_else(|| "model".to_owned()), version)
    }
}

/// Path of a regular file in the bundle, if it exists.
fn file(directory: &Path, name: &str) -> Result<Option<PathBuf>, BundleError> {
    let path = directory.join(name);
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some(path)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BundleError::Unreadable { path, source }),
    }
}

fn read_text(directory: &Path, name: &str) -> Result<Option<String>, BundleError> {
    let Some(path) = file(directory, name)? else { return Ok(None) };
    let unreadable = |source| BundleError::Unreadable { path: path.clone(), source };
    let length = path.metadata().map_err(unreadable)?.len();
    if length > MAX_SAMPLE {
        return Err(unreadable(io::Error::other(format!("{length} bytes are over the limit of {MAX_SAMPLE}"))));
    }
    std::fs::read_to_string(&path).map(Some).map_err(unreadable)
}

/// Digest of every file below the folder, in order of their paths.
pub(super) fn digest(directory: &Path) -> Result<String, BundleError> {
    let mut files = Vec::new();
    list_files(directory, &mut files)?;
    files.sort();
    let mut context = Context::new(&SHA256);
    for path in files {
        let name = path.strip_prefix(directory).unwrap_or(&path).to_string_lossy().into_owned();
        let unreadable = |source| BundleError::Unreadable { path: path.clone(), source };
        let mut reader = std::fs::File::open(&path).map_err(unreadable)?;
        let length = reader.metadata().map_err(unreadable)?.len();
        // Lengths in front, so that no two bundles run into the same bytes.
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(&length.to_le_bytes());
        io::copy(&mut reader, &mut Updating(&mut context)).map_err(unreadable)?;
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn list_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), BundleError> {
    let unreadable = |source| BundleError::Unreadable { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            list_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Feeds what is written to it into a digest.
struct Updating<'a>(&'a mut Context);

impl io::Write for Updating<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn bundle(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_bare_model_is_a_bundle() {
        let directory = bundle(&[("model.rds", "x")]);
        let bundle = Bundle::open(directory.path()).unwrap();
        assert_eq!(bundle.manifest, Manifest::default());
        assert_eq!(bundle.script, None);
        assert_eq!(bundle.identity.digest.len(), 64);
    }

    #[test]
    fn the_digest_follows_every_file() {
        let one = Bundle::open(bundle(&[("model.rds", "x"), ("score.R", "y")]).path()).unwrap().identity.digest;
        let same = Bundle::open(bundle(&[("score.R", "y"), ("model.rds", "x")]).path()).unwrap().identity.digest;
        let other = Bundle::open(bundle(&[("model.rds", "x"), ("score.R", "z")]).path()).unwrap().identity.digest;
        assert_eq!(one, same);
        assert_ne!(one, other);
    }

    #[test]
    fn an_identity_holds_as_long_as_the_contents_do() {
        let directory = bundle(&[("model.rds", "x")]);
        let identity = Bundle::open(directory.path()).unwrap().identity;
        assert!(identity.still_holds());
        let path = directory.path().join("model.rds");
        std::fs::remove_file(&path).unwrap();
        assert!(!identity.still_holds());
        std::fs::write(&path, "x").unwrap();
        assert!(identity.still_holds(), "another file with the same contents");
        std::fs::write(&path, "y").unwrap();
        assert!(!identity.still_holds());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = |files: &[(&str, &str)]| Bundle::open(bundle(files).path()).unwrap_err().to_string();
        assert!(text(&[]).contains("neither model.rds nor a scoring script"));
        assert!(text(&[("model.rds", "x"), ("expected.json", "[]")]).contains("needs a sample.json"));
        assert!(text(&[("model.rds", "x"), ("rscore.toml", "script = \"a.R\"")]).contains("'a.R'"));
        assert!(text(&[("model.rds", "x"), ("rscore.toml", "colums = 1")]).contains("did you mean 'columns'"));
        assert!(Bundle::open(Path::new("no/such/folder")).unwrap_err().to_string().contains("no/such/folder"));
    }
}
