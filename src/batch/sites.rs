//! The stores of a job: the folder of each input, and that of the output, which
//! holds the state of its runs too.

use bytes::Bytes;
use futures_util::stream::TryStreamExt;

use super::job::{Job, format_of};
use super::objects::{Answer, Created, Listed, Objects, StoreTrouble};
use super::plan::{Part, Source};
use super::record::{Cause, Failure};
use super::run::{Hindrance, Unmade};
use super::template::Template;
use crate::config::ProviderVariables;
use crate::config::settings::StoreSettings;
use crate::frame::format::Format;
use crate::frame::parquet::RowGroups;
use crate::store::{Location, PutOutcome, Store, StoreError, StoreErrorKind};

/// Largest document of a run's state in bytes; staged outputs are larger.
const MAX_OBJECT: u64 = 1 << 36;

/// Opens stores with the settings and variables of this process.
#[derive(Clone)]
pub struct Opener {
    /// How stores are spoken to.
    pub settings: StoreSettings,
    /// Accounts and credentials.
    pub variables: ProviderVariables,
}

/// One input's folder and its template below that.
#[derive(Clone)]
pub struct InputSite {
    /// Name of the input.
    pub name: String,
    /// Its folder.
    pub store: Store,
    /// Paths below the folder.
    pub template: Template,
    /// The template as the job has it.
    pub written: String,
    /// Format of its objects.
    pub format: Format,
}

/// All stores of a job.
#[derive(Clone)]
pub struct Sites {
    /// Inputs in the job's order.
    pub inputs: Vec<InputSite>,
    /// The output's folder.
    pub output: Store,
    /// The output's paths below that.
    pub output_template: Template,
}

impl Opener {
    /// Opens a folder.
    ///
    /// # Errors
    /// The location or the settings can't be used.
    pub fn open(&self, folder: &str) -> Result<Store, StoreError> {
        let folder = match folder {
            "" => ".",
            "/" => "/",
            other => other.trim_end_matches('/'),
        };
        Store::open(&Location::parse(folder)?, &self.settings, &self.variables)
    }

    /// Opens all stores of a job.
    ///
    /// # Errors
    /// Every location that can't be used, one sentence each.
    pub fn sites(&self, job: &Job) -> Result<Sites, Vec<String>> {
        let mut problems = Vec::new();
        let mut inputs = Vec::new();
        for (name, template) in &job.inputs {
            let written = template.to_string();
            match (self.open(template.folder()), format_of(&written)) {
                (Ok(store), Some(format)) => {
                    inputs.push(InputSite {
                        name: name.clone(),
                        store,
                        template: template.below_folder(),
                        written,
                        format,
                    });
                }
                (Ok(_), None) => problems.push(format!("inputs.{name}: '{written}' has no known extension")),
                (Err(error), _) => problems.push(format!("inputs.{name}: {error}")),
            }
        }
        let output = self.open(job.output.template.folder());
        match output {
            Ok(output) if problems.is_empty() => {
                Ok(Sites { inputs, output, output_template: job.output.template.below_folder() })
            }
            Ok(_) => Err(problems),
            Err(error) => {
                problems.push(format!("output: {error}"));
                Err(problems)
            }
        }
    }
}

impl InputSite {
    /// Reads an object, or the part of it that is meant, in the version that was planned.
    ///
    /// # Errors
    /// The partition's own failure when the object was changed; trouble otherwise.
    pub async fn read(&self, source: &Source) -> Result<Bytes, Hindrance> {
        let etag = source.etag.as_deref();
        let result = match source.part {
            Some(Part::Records { header, start, end, .. }) => self.read_records(source, etag, header, start..end).await,
            Some(Part::RowGroups { from, to, start, end, footer, .. }) => {
                self.read_row_groups(source, etag, from..to, start..end, footer).await
            }
            None => self.read_whole(source, etag).await,
        };
        result.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound | StoreErrorKind::Changed => Hindrance::Failure(Failure {
                cause: Cause::InputChanged,
                message: format!(
                    "{} of the input {} was replaced or removed after the plan was made",
                    source.path, self.name
                ),
                condition: None,
            }),
            _ => Hindrance::Unmade(Unmade::Trouble(trouble(error))),
        })
    }

    async fn read_whole(&self, source: &Source, etag: Option<&str>) -> Result<Bytes, StoreError> {
        let (_, mut stream) = self.store.get_stream(&source.path, etag).await?;
        let mut bytes = bytes::BytesMut::with_capacity(usize::try_from(source.size).unwrap_or_default());
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        if etag.is_none() && bytes.len() as u64 != source.size {
            return Err(StoreError::new(StoreErrorKind::Changed, "its size has changed"));
        }
        Ok(bytes.freeze())
    }

    async fn read_records(
        &self,
        source: &Source,
        etag: Option<&str>,
        header: u64,
        records: std::ops::Range<u64>,
    ) -> Result<Bytes, StoreError> {
        // No store gives a range of no bytes. A file with nothing in it is read as a whole.
        if records.is_empty() && header == 0 {
            return self.read_whole(source, etag).await;
        }
        let mut bytes = bytes::BytesMut::new();
        if header > 0 {
            bytes.extend_from_slice(&self.store.get_range(&source.path, 0..header, etag).await?);
        }
        if !records.is_empty() {
            bytes.extend_from_slice(&self.store.get_range(&source.path, records, etag).await?);
        }
        Ok(bytes.freeze())
    }

    /// Row groups as a file of their own.
    async fn read_row_groups(
        &self,
        source: &Source,
        etag: Option<&str>,
        numbers: std::ops::Range<usize>,
        bytes: std::ops::Range<u64>,
        footer: u64,
    ) -> Result<Bytes, StoreError> {
        let footer = self.store.get_range(&source.path, footer..source.size, etag).await?;
        let start = bytes.start;
        // A file without rows has no row group to fetch.
        let bytes =
            if bytes.is_empty() { Bytes::new() } else { self.store.get_range(&source.path, bytes, etag).await? };
        // The plan was made of this very footer, unless the store has no etags.
        let file = RowGroups::read(&footer).and_then(|groups| groups.file(numbers, start, &bytes));
        file.map_err(|error| StoreError::new(StoreErrorKind::Changed, error.detail().to_owned()))
    }
}

/// What a store's error is to the protocol.
pub(super) fn trouble(error: StoreError) -> StoreTrouble {
    match error.kind() {
        StoreErrorKind::Invalid | StoreErrorKind::NotFound | StoreErrorKind::Denied => {
            StoreTrouble::permanent(error.to_string())
        }
        _ => StoreTrouble::new(error.to_string()),
    }
}

impl Objects for Store {
    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, Created> {
        Box::pin(async move {
            match self.put_new(path, bytes).await.map_err(trouble)? {
                PutOutcome::Created => Ok(Created::New),
                PutOutcome::Exists => Ok(Created::Exists),
            }
        })
    }

    fn write<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move { self.overwrite(path, bytes).await.map(|_| ()).map_err(trouble) })
    }

    fn read<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            match self.get(path, MAX_OBJECT).await {
                Ok((_, bytes)) => Ok(Some(bytes)),
                Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
                Err(error) => Err(trouble(error)),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let listed = Store::list(self, folder.trim_end_matches('/')).map_err(trouble)?;
            listed.map_ok(|info| Listed { path: info.path, size: info.size }).try_collect().await.map_err(trouble)
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.delete(path).await.map_err(trouble) })
    }
}
