//! What commands that try a model out share: its name, and rows to score.

use std::path::Path;

use arrow_array::RecordBatch;

use crate::frame::rows;
use crate::frame::schema::Inputs;
use crate::scoring::load::LoadedVersion;

/// Name and version of a bundle: the names of its folders, as in a repository.
pub fn model_and_version(directory: &Path) -> (String, u32) {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let name = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let version = name(Some(&directory)).and_then(|version| version.parse().ok()).unwrap_or(1);
    (name(directory.parent()).unwrap_or_else(|| "model".to_owned()), version)
}

/// So many rows for the model: those of its sample over again, else made up from
/// its columns. `None` where neither is possible.
///
/// # Errors
/// Why the sample can't be repeated.
pub fn inputs(loaded: &LoadedVersion, rows: usize) -> Result<Option<Inputs<RecordBatch>>, String> {
    let Some(sample) = &loaded.sample_inputs else {
        return Ok(rows::from_schemas(&loaded.info.schemas, rows));
    };
    if sample.as_single().is_none() {
        // Rows of several inputs belong together; they can't be repeated one by one.
        return Ok(None);
    }
    sample
        .iter()
        .map(|(name, batch)| Ok((name.to_owned(), rows::repeat(batch, rows).map_err(|error| error.to_string())?)))
        .collect::<Result<Vec<_>, String>>()
        .map(|frames| Some(Inputs::named(frames)))
}
