//! From a bundle on disk to a scorer: start its pool, settle its schemas, and
//! prove with the bundle's own sample that it gives what it should. `serve` and
//! `check` load the same way.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use serde_json::Value;
use serde_json::value::RawValue;

use super::batching::BatchLimits;
use super::catalog::ModelInfo;
use super::dispatcher::{DispatchSettings, Dispatcher, Released};
use super::independence::{self, PROOF_ROWS, RowIndependence};
use super::quarantine::QuarantineLimits;
use super::queue::QueueLimits;
use super::slots::ScoringSlots;
use super::{Score, ScoreRequest, Scored, Scorer};
use crate::config::Settings;
use crate::error::Error;
use crate::frame::json::{self, DecodeOptions, NonFinite};
use crate::frame::rows;
use crate::frame::schema::{InputSchemas, Inputs, SINGLE_INPUT};
use crate::lifecycle::Background;
use crate::model::manifest::ManifestError;
use crate::model::{Bundle, BundleError};
use crate::pool::{PoolSettings, StartError, Upkeep, WarmUp, WorkerPool};
use crate::telemetry::context::RequestContext;
use crate::worker::protocol::LoadRequest;

/// Made-up rows of a warm-up: R's compiler needs calls, not rows.
const WARM_UP_ROWS: usize = 4;

/// What loading needs to know of the server.
#[derive(Debug, Clone)]
pub struct LoadContext {
    /// The rscore binary.
    pub executable: PathBuf,
    /// Environment of workers.
    pub environment: Vec<(String, String)>,
    /// Workers per model version.
    pub workers: usize,
    /// How workers are kept fit.
    pub upkeep: Upkeep,
    /// Scoring slots over all models.
    pub slots: ScoringSlots,
    /// Limits, times and batching.
    pub settings: Settings,
    /// Reports panics of the tasks that a loaded version runs.
    pub background: Background,
}

/// A version that loaded and passed its own check.
pub struct LoadedVersion {
    /// Metadata.
    pub info: ModelInfo,
    /// Scores its requests.
    pub scorer: Scorer,
    /// Its workers; stopped by whoever stops the server.
    pub pool: Arc<WorkerPool>,
    /// Resolves when the last handle of the scorer is gone.
    pub released: Released,
    /// What the sample gave, if there is one.
    pub sample: Option<Scored>,
    /// The sample's rows.
    pub sample_inputs: Option<Inputs<RecordBatch>>,
    /// Whether there was an expected file, which the sample then agreed with.
    pub sample_was_expected: bool,
    /// How predictions are made, in words.
    pub scored_by: String,
    /// Version of R.
    pub r_version: String,
    /// What R warned of while it loaded.
    pub warnings: Vec<String>,
}

/// Why a version could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder is not a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The worker process could not load it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Manifest and model disagree.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The sample is not JSON, does not fit the schema, or can't be scored.
    #[error("sample.json: {0}")]
    Sample(Error),
    /// The expected file is not a JSON array.
    #[error("expected.json: {0}")]
    Expected(String),
}

/// Loads one version.
///
/// # Errors
/// See [`LoadError`]; its text is for the operator.
pub async fn load(
    name: &str,
    version: u32,
    directory: PathBuf,
    context: &LoadContext,
) -> Result<LoadedVersion, LoadError> {
    load_bundle(name, version, open(directory).await?, context).await
}

/// Reads the folder of a version.
///
/// # Errors
/// [`LoadError::Bundle`] when it is none.
pub async fn open(directory: PathBuf) -> Result<Bundle, LoadError> {
    let opened = tokio::task::spawn_blocking(move || Bundle::open(&directory)).await;
    Ok(opened.map_err(|error| StartError::System(std::io::Error::other(error)))??)
}

/// Loads a version whose folder was read.
///
/// # Errors
/// See [`LoadError`]; its text is for the operator.
pub async fn load_bundle(
    name: &str,
    version: u32,
    bundle: Bundle,
    context: &LoadContext,
) -> Result<LoadedVersion, LoadError> {
    let settings = PoolSettings {
        model: Arc::from(name),
        version,
        executable: context.executable.clone(),
        environment: context.environment.clone(),
        load: load_request(&bundle, context.settings.limits.max_reply_bytes),
        warm_up: warm_up(&bundle, context.settings.limits.max_rows),
        size: context.workers,
        upkeep: context.upkeep.clone(),
        load_timeout: context.settings.models.load_timeout,
        max_reply_bytes: context.settings.limits.max_reply_bytes,
        identity: Some(bundle.identity.clone()),
        background: context.background.clone(),
    };
    let (pool, loaded) = WorkerPool::start(settings).await?;
    let pool = Arc::new(pool);
    let finish = async {
        let schemas = bundle.manifest.schemas(loaded.columns, bundle.script.is_some())?;
        let dispatch = dispatch_settings(name, version, &bundle, context);
        let scorer = Dispatcher::start(dispatch, pool.clone(), context.slots.clone());
        let timeout = bundle.manifest.timeout.unwrap_or(context.settings.models.timeout);
        let sample = check_sample(&bundle, &scorer, &schemas, timeout, context.settings.limits.max_rows).await?;
        if let Some((_, predictions)) = &sample {
            scorer.answer_no_rows_like(predictions);
        }
        let row_independence = prove(
            &bundle,
            &pool,
            &schemas,
            sample.as_ref().map(|(inputs, _)| inputs),
            context.settings.models.load_timeout,
        )
        .await;
        if row_independence.holds() {
            scorer.allow_joining();
        }
        let info = ModelInfo {
            description: bundle.manifest.description.clone(),
            class: loaded.class,
            packages: loaded.packages,
            digest: bundle.identity.digest.clone(),
            schemas,
            timeout,
            row_independence,
            sample: match &bundle.sample {
                Some(text) => Some(Arc::from(
                    RawValue::from_string(text.trim().to_owned())
                        .map_err(|error| LoadError::Sample(Error::malformed(error.to_string())))?,
                )),
                None => None,
            },
        };
        let released = scorer.released();
        Ok::<_, LoadError>((info, Arc::new(scorer) as Scorer, released, sample))
    };
    match finish.await {
        Ok((info, scorer, released, sample)) => {
            let (sample_inputs, sample) = sample.unzip();
            Ok(LoadedVersion {
                info,
                scorer,
                pool,
                released,
                sample,
                sample_inputs,
                sample_was_expected: bundle.expected.is_some(),
                scored_by: scored_by(&bundle),
                r_version: loaded.r_version,
                warnings: loaded.warnings,
            })
        }
        Err(error) => {
            pool.stop().await;
            Err(error)
        }
    }
}

fn load_request(bundle: &Bundle, max_reply_bytes: usize) -> LoadRequest {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let inputs = match bundle.manifest.inputs.as_slice() {
        [] => vec![SINGLE_INPUT.to_owned()],
        inputs => inputs.iter().map(|(name, _)| name.clone()).collect(),
    };
    LoadRequest {
        directory: text(&bundle.directory),
        script: bundle.script.as_deref().map(text),
        packages: bundle.manifest.packages.clone(),
        predict: bundle.manifest.predict.clone(),
        inputs,
        seed: bundle.manifest.seed,
        max_reply_bytes,
    }
}

/// Rows that a zygote warms up with: the sample, else made-up ones.
fn warm_up(bundle: &Bundle, max_rows: usize) -> Option<WarmUp> {
    let manifest = bundle.manifest.clone();
    let has_script = bundle.script.is_some();
    let sample = bundle.sample.clone();
    manifest.warm_up.unwrap_or(true).then(|| {
        WarmUp::new(move |loaded| {
            // What is wrong with schemas or sample is reported where they are checked.
            let schemas = manifest.schemas(loaded.columns.clone(), has_script).ok()?;
            let options = DecodeOptions { max_rows, non_finite_strings: true };
            match &sample {
                Some(sample) => json::decode(sample.as_bytes(), &schemas, options).ok().map(|decoded| decoded.inputs),
                None if schemas.iter().any(|(_, schema)| schema.columns.is_empty()) => None,
                None => rows::from_schemas(&schemas, WARM_UP_ROWS),
            }
        })
    })
}

fn scored_by(bundle: &Bundle) -> String {
    match &bundle.script {
        Some(script) => {
            let name = script.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            format!("score(model, data) in {name}")
        }
        None => "predict(model, newdata)".to_owned(),
    }
}

fn dispatch_settings(name: &str, version: u32, bundle: &Bundle, context: &LoadContext) -> DispatchSettings {
    let Settings { batching, limits, .. } = &context.settings;
    DispatchSettings {
        model: Arc::from(name),
        version,
        rows_like: bundle.manifest.rows_like.clone(),
        batch: BatchLimits { max_rows: batching.max_rows, target_latency: batching.target_latency },
        max_delay: batching.max_delay,
        split_rows: batching.split_rows,
        audit_every: batching.audit_every,
        cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        queue: QueueLimits {
            max_entries: limits.max_queued_requests,
            max_rows: limits.max_queued_rows,
            max_bytes: limits.max_queued_bytes,
            max_time: limits.max_queue_time,
        },
        quarantine: QuarantineLimits { max_entries: limits.quarantine_entries, time: limits.quarantine_time },
        background: context.background.clone(),
    }
}

/// Finds out whether requests may be joined: declared by the manifest, or the
/// default for plain `predict`, and proved on the sample or on rows made from the
/// schema.
async fn prove(
    bundle: &Bundle,
    pool: &WorkerPool,
    schemas: &InputSchemas,
    sample: Option<&Inputs<RecordBatch>>,
    limit: Duration,
) -> RowIndependence {
    let not_proved = |reason: String| RowIndependence::NotProved { reason };
    match bundle.manifest.row_independent {
        Some(false) => return RowIndependence::Denied,
        None if bundle.script.is_some() => {
            return not_proved("the scoring script does not declare row_independent = true".to_owned());
        }
        Some(true) | None => {}
    }
    let sample = sample.and_then(Inputs::as_single).filter(|batch| batch.num_rows() > 1);
    let made_up = sample.is_none();
    let rows = match sample {
        Some(batch) => Some(batch.slice(0, batch.num_rows().min(PROOF_ROWS))),
        None => rows::from_schemas(schemas, PROOF_ROWS).and_then(|inputs| inputs.as_single().cloned()),
    };
    let Some(rows) = rows else {
        return not_proved(
            "there are no rows to prove it with; give the bundle a sample.json of several rows".to_owned(),
        );
    };
    let proof = async {
        match pool.reserve().await {
            Ok(mut worker) => independence::prove(&mut worker, &rows).await,
            Err(error) => Err(error.into()),
        }
    };
    match tokio::time::timeout(limit, proof).await {
        Ok(Ok(Ok(()))) => RowIndependence::Proved { rows: rows.num_rows(), made_up },
        Ok(Ok(Err(difference))) => not_proved(difference),
        Ok(Err(lost)) => not_proved(lost.to_string()),
        Err(_) => not_proved(format!("the proof took longer than {} s", limit.as_secs())),
    }
}

async fn check_sample(
    bundle: &Bundle,
    scorer: &dyn Score,
    schemas: &InputSchemas,
    timeout: Duration,
    max_rows: usize,
) -> Result<Option<(Inputs<RecordBatch>, Scored)>, LoadError> {
    let Some(sample) = &bundle.sample else { return Ok(None) };
    let options = DecodeOptions { max_rows, non_finite_strings: true };
    let decoded = json::decode(sample.as_bytes(), schemas, options).map_err(LoadError::Sample)?;
    let request = ScoreRequest {
        inputs: decoded.inputs.clone(),
        deadline: Instant::now() + timeout,
        context: RequestContext::untraced("sample"),
    };
    let scored = scorer.score(request).await.map_err(LoadError::Sample)?;
    if let Some(expected) = &bundle.expected {
        let mut got = Vec::new();
        json::encode_predictions(&scored.batch, scored.unnamed, NonFinite::String, &mut got)
            .map_err(LoadError::Sample)?;
        compare(expected, &got).map_err(LoadError::Expected)?;
    }
    Ok(Some((decoded.inputs, scored)))
}

/// Compares predictions value by value; numbers must be the same doubles.
fn compare(expected: &str, got: &[u8]) -> Result<(), String> {
    let expected: Vec<Value> =
        serde_json::from_str(expected).map_err(|error| format!("not an array of predictions: {error}"))?;
    let got: Vec<Value> = serde_json::from_slice(got).map_err(|error| error.to_string())?;
    if expected.len() != got.len() {
        return Err(format!("it has {} predictions, the sample gives {}", expected.len(), got.len()));
    }
    for (row, (expected, got)) in expected.iter().zip(&got).enumerate() {
        if !same(expected, got) {
            return Err(format!("row {row} should be {expected} and is {got}"));
        }
    }
    Ok(())
}

fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(expected), Value::Number(got)) => {
            expected.as_f64().map(f64::to_bits) == got.as_f64().map(f64::to_bits)
        }
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected.iter().all(|(key, value)| got.get(key).is_some_and(|got| same(value, got)))
        }
        (expected, got) => expected == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_compared_by_value() {
        assert_eq!(compare("[1, 2.5, null]", b"[1.0,2.5,null]"), Ok(()));
        assert_eq!(compare(r#"[{"a": 1, "b": "x"}]"#, br#"[{"b":"x","a":1.0}]"#), Ok(()));
        for wrong in ["[1, 2.5]", "[1, 2.5000000000000004, null]", "[1, 2.5, 0]", "{}"] {
            assert!(compare(wrong, b"[1.0,2.5,null]").is_err(), "{wrong}");
        }
    }
}
