//! The workshop that real runs have: inputs are fetched and decoded, R scores
//! them in the workers that `serve` uses, and the output is encoded. Several
//! partitions are in it at once, so that stores and codecs work while R does;
//! bytes in memory are bounded.

mod decode;
mod encode;
mod isolate;
mod log;
mod quarantine;
mod reuse;
mod score;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, RwLock, Semaphore};

pub use self::decode::Columns;
use self::decode::Decoded;
use self::log::PartitionLog;
use self::quarantine::BadRow;
pub use self::reuse::Earlier;
use super::digest::sha256_hex;
use super::job::{BadRows, Job};
use super::layout::Layout;
use super::objects::Objects;
use super::plan::Source;
use super::record::{Cause, Failure, Finding, Outcome, Rows, Times, Written};
use super::run::stop::{Stop, Stopping};
use super::run::{Hindrance, Made, Order, Unmade, Usage, Workshop};
use super::sites::{InputSite, Sites};
use crate::frame::format::Format;
use crate::frame::parquet::decoded_bytes;
use crate::frame::schema::Inputs;
use crate::pool::WorkerPool;
use crate::pool::memory::{ProportionalSize, resident_bytes};

/// Bytes that one permit of the memory semaphore stands for.
const MEMORY_UNIT: u64 = 64 * 1024;

/// What a byte of input may take in memory: itself, its columns, its output.
const MEMORY_FACTOR: u64 = 4;

/// How often the log of a partition that is being scored is brought up to date.
const LOG_INTERVAL: Duration = Duration::from_secs(2);

/// What a workshop needs to know of the model.
pub struct ModelParts {
    /// Its workers.
    pub pool: Arc<WorkerPool>,
    /// How long a zygote that died may take to start again.
    pub load_timeout: Duration,
    /// Which columns of which input it takes.
    pub columns: Columns,
    /// SHA-256 of the bundle.
    pub digest: String,
    /// Whether rows were proved to be independent, so that one can be left out.
    pub independent: bool,
    /// Columns that tell groups apart which the bundle says to be independent, so that
    /// one can be left out.
    pub independent_by: Vec<String>,
}

/// Fetches, scores and encodes.
pub struct RWorkshop {
    run: String,
    shard: String,
    job: Job,
    sites: Sites,
    layout: Layout,
    model: ModelParts,
    broadcast: Vec<Broadcast>,
    memory: Arc<Semaphore>,
    memory_units: u32,
    /// A run whose results are taken over where nothing has changed.
    earlier: Option<Earlier>,
    /// Held shared by all calls, and alone by one that is tried again after a crash.
    alone: RwLock<()>,
    stopping: Stopping,
    busy: Mutex<Duration>,
    proportional: ProportionalSize,
    /// Where R's output is collected.
    folder: PathBuf,
}

/// An input that all partitions read; fetched once.
struct Broadcast {
    site: InputSite,
    source: Source,
    frame: OnceCell<Result<RecordBatch, Failure>>,
}

/// What is to be scored, and what was set aside before.
struct Work {
    inputs: Inputs<RecordBatch>,
    /// Columns that go into the output as they came.
    kept: RecordBatch,
    /// Numbers of the rows within the object.
    numbers: Vec<u64>,
    bad: Vec<BadRow>,
    /// Bytes of the input that rows are quarantined of.
    raw: Option<Bytes>,
}

impl RWorkshop {
    /// A workshop for one run.
    #[expect(clippy::too_many_arguments, reason = "each is one part of a run, and there is one caller")]
    pub fn new(
        run: String,
        shard: String,
        job: Job,
        sites: Sites,
        broadcast: &[(String, Source)],
        model: ModelParts,
        earlier: Option<Earlier>,
        stopping: Stopping,
        folder: PathBuf,
    ) -> Self {
        let units = u32::try_from(job.limits.memory_bytes / MEMORY_UNIT).unwrap_or(u32::MAX / 8).min(u32::MAX / 8);
        let broadcast = broadcast
            .iter()
            .filter_map(|(name, source)| {
                let site = sites.inputs.iter().find(|site| site.name == *name)?;
                Some(Broadcast { site: site.clone(), source: source.clone(), frame: OnceCell::new() })
            })
            .collect();
        Self {
            layout: Layout::new(&run),
            run,
            shard,
            job,
            sites,
            model,
            broadcast,
            memory: Arc::new(Semaphore::new(units as usize)),
            memory_units: units,
            earlier,
            alone: RwLock::new(()),
            stopping,
            busy: Mutex::default(),
            proportional: ProportionalSize::default(),
            folder,
        }
    }

    async fn make(&self, order: Order<'_>) -> Result<Made, Unmade> {
        let Order { partition, attempt, .. } = order;
        let mut permit = self.room(partition.bytes()).await?;
        if let Some(earlier) = &self.earlier
            && let Some(made) = earlier.made(order, &self.layout, &self.shard, &self.model.digest).await?
        {
            return Ok(Made { permit: Some(Arc::new(permit)), ..made });
        }
        let mut times = Times::default();
        let fetched = Instant::now();
        let objects = match self.fetch(order).await {
            Ok(objects) => objects,
            Err(Hindrance::Failure(failure)) => return Ok(self.failed(order, failure, Rows::default(), times)),
            Err(Hindrance::Unmade(unmade)) => return Err(unmade),
        };
        times.fetch = fetched.elapsed().as_secs_f64();
        let in_memory = self.decoded(&objects);
        if in_memory > partition.bytes() {
            // Two that each wait for more than they have would wait for each other.
            drop(permit);
            permit = self.room(in_memory).await?;
        }
        let decoded = Instant::now();
        let work = match self.prepare(order, objects).await? {
            Ok(work) => work,
            Err((failure, rows)) => return Ok(self.failed(order, failure, rows, times)),
        };
        times.decode = decoded.elapsed().as_secs_f64();
        if self.stopping.asked() != Stop::No {
            return Err(Unmade::Interrupted);
        }
        let read = (work.numbers.len() + work.bad.len()) as u64;
        let mut log = PartitionLog::begin(&self.folder, attempt, &partition.id, self.job.limits.log_bytes);
        let scored = self.score_with_log(order, &work, &mut times, &mut log).await?;
        let tries = scored.tries;
        let (predictions, dropped) = match scored.result {
            Ok(result) => result,
            Err(failure) => {
                log.say(&format!("failed: {}", failure.message));
                let rows = Rows { read, failed: read, ..Rows::default() };
                let mut made = self.failed(order, failure, rows, times);
                made.outcome.tries = tries;
                made.outcome.warnings = scored.warnings.len() as u64;
                made.log = log.finish(&scored.warnings).await;
                return Ok(made);
            }
        };
        let encoded = Instant::now();
        let Work { kept, numbers, mut bad, raw, .. } = work;
        let kept = decode::without(&kept, &dropped).map_err(|error| Unmade::permanent(error.to_string()))?;
        quarantine::add_dropped(&mut bad, dropped, &numbers, raw.as_ref(), self.quarantine_format());
        for row in bad.iter().take(log::LISTED_ROWS) {
            log.say(&format!("row {} was set aside: {}", row.number, row.message));
        }
        let format = self.job.output.format;
        let output = decode::beside(move || encode::encode(format, kept, predictions)).await?;
        let (output, written_rows) = match output {
            Ok(output) => output,
            Err(error) => {
                return Err(Unmade::permanent(format!("the output can't be encoded: {}", decode::describe(&error))));
            }
        };
        let (quarantine, files) = self.quarantine(order, &bad);
        times.encode = encoded.elapsed().as_secs_f64();
        let written = Written {
            path: partition.output.clone(),
            staged: self.layout.staged(&partition.id, attempt, "output"),
            size: output.len() as u64,
            sha256: sha256_hex(&output),
        };
        let rows = Rows { read, written: written_rows, quarantined: bad.len() as u64, failed: 0 };
        let mut outcome = self.outcome(order, Finding::Scored { output: written }, rows, times);
        outcome.tries = tries;
        outcome.warnings = scored.warnings.len() as u64;
        outcome.worker_bytes = scored.worker_bytes;
        outcome.quarantine = quarantine;
        let log = log.finish(&scored.warnings).await;
        Ok(Made { outcome, output: Some(output), quarantine: files, log, permit: Some(Arc::new(permit)) })
    }

    /// Waits until there is room for a partition of so many bytes; one that is larger than
    /// all of it goes alone.
    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Unmade> {
        let units = memory_units(bytes).min(self.memory_units);
        let permit = self.memory.clone().acquire_many_owned(units).await;
        permit.map_err(|_| Unmade::trouble("the memory bound is closed"))
    }

    /// Bytes of what was fetched, or, of Parquet, of the columns in it.
    fn decoded(&self, objects: &[(String, Source, Bytes)]) -> u64 {
        let bytes = |(name, _, bytes): &(String, Source, Bytes)| {
            let is_parquet = self.site(name).is_some_and(|site| site.format == Format::Parquet);
            let decoded = if is_parquet { decoded_bytes(bytes) } else { None };
            decoded.unwrap_or(0).max(bytes.len() as u64)
        };
        objects.iter().map(bytes).fold(0, u64::saturating_add)
    }

    async fn fetch(&self, order: Order<'_>) -> Result<Vec<(String, Source, Bytes)>, Hindrance> {
        let mut objects = Vec::with_capacity(order.partition.inputs.len());
        for (name, source) in &order.partition.inputs {
            let site = self.site(name).ok_or_else(|| {
                Hindrance::Unmade(Unmade::permanent(format!("the plan has the input '{name}', the job does not")))
            })?;
            objects.push((name.clone(), source.clone(), site.read(source).await?));
        }
        Ok(objects)
    }

    fn site(&self, name: &str) -> Option<&InputSite> {
        self.sites.inputs.iter().find(|site| site.name == name)
    }

    /// Bytes to columns; a failure comes with the rows that it cost.
    async fn prepare(
        &self,
        order: Order<'_>,
        objects: Vec<(String, Source, Bytes)>,
    ) -> Result<Result<Work, (Failure, Rows)>, Unmade> {
        let may_drop = self.job.errors.rows == BadRows::Quarantine && self.model.independent;
        let mut frames = Vec::with_capacity(objects.len() + self.broadcast.len());
        let mut main = None;
        let mut bad = Vec::new();
        for (name, source, bytes) in objects {
            let Some(site) = self.site(&name) else { continue };
            let is_main = name == self.model.columns.rows_like;
            let columns = self.model.columns.clone();
            let (format, max_rows, raw) = (site.format, self.job.limits.max_rows, bytes.clone());
            let input = name.clone();
            let decoded = decode::beside(move || columns.decode(&input, format, &bytes, max_rows)).await?;
            let Decoded { frame, rejected, rows, lacks } = match decoded {
                Ok(decoded) => decoded,
                Err(failure) => return Ok(Err((failure, Rows::default()))),
            };
            if let Some(column) = lacks {
                let message = format!("{name} has no column '{column}', which keep names");
                let failure = failure(Cause::InputMalformed, message);
                return Ok(Err((failure, Rows { read: rows, failed: rows, ..Rows::default() })));
            }
            let tolerable = rejected.is_empty() || (may_drop && is_main);
            if !tolerable {
                let failed = if is_main { rows } else { 0 };
                let failure = quarantine::not_droppable(&name, &rejected, source.first_row(), self.model.independent);
                return Ok(Err((failure, Rows { read: failed, failed, ..Rows::default() })));
            }
            if is_main {
                let first = source.first_row();
                let numbers = decode::numbers_of_accepted(rows, &rejected, first);
                bad = rejected.into_iter().map(|row| BadRow::unreadable(row, first)).collect();
                let kept = self.model.columns.kept(&frame);
                let kept = kept.map_err(|error| Unmade::permanent(error.to_string()))?;
                main = Some((kept, numbers, raw));
            }
            frames.push((name.clone(), self.model.columns.of_model(&name, frame)));
        }
        for Broadcast { site, source, frame } in &self.broadcast {
            match frame.get_or_try_init(|| self.read_broadcast(site, source)).await? {
                Ok(frame) => frames.push((site.name.clone(), frame.clone())),
                Err(failure) => return Ok(Err((failure.clone(), Rows::default()))),
            }
        }
        let Some((kept, numbers, raw)) = main else {
            return Err(Unmade::permanent(format!(
                "partition {} lacks the input '{}' that predictions follow",
                order.partition.id, self.model.columns.rows_like
            )));
        };
        Ok(Ok(Work { inputs: self.model.columns.in_order(frames), kept, numbers, bad, raw: Some(raw) }))
    }

    async fn read_broadcast(&self, site: &InputSite, source: &Source) -> Result<Result<RecordBatch, Failure>, Unmade> {
        let bytes = match site.read(source).await {
            Ok(bytes) => bytes,
            Err(Hindrance::Failure(failure)) => return Ok(Err(failure)),
            Err(Hindrance::Unmade(unmade)) => return Err(unmade),
        };
        let columns = self.model.columns.clone();
        let (name, format, max_rows) = (site.name.clone(), site.format, self.job.limits.max_rows);
        let decoded = decode::beside(move || columns.decode(&name, format, &bytes, max_rows)).await?;
        Ok(decoded.and_then(|decoded| match decoded.rejected.is_empty() {
            true => Ok(self.model.columns.of_model(&site.name, decoded.frame)),
            false => Err(quarantine::not_droppable(&site.name, &decoded.rejected, 0, self.model.independent)),
        }))
    }

    /// Scores while the log is brought to the store now and then.
    async fn score_with_log(
        &self,
        order: Order<'_>,
        work: &Work,
        times: &mut Times,
        log: &mut PartitionLog,
    ) -> Result<score::Scored, Unmade> {
        let path = self.layout.log(&order.partition.id);
        let mut scoring = std::pin::pin!(self.score(order, work, times, log.path().to_owned()));
        let mut ticks = tokio::time::interval(LOG_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                scored = &mut scoring => return scored,
                _ = ticks.tick() => {
                    if let Some(text) = log.news().await
                        && let Err(error) = Objects::write(&self.sites.output, &path, text).await
                    {
                        tracing::debug!("the log of {} could not be written: {error}", order.partition.id);
                    }
                }
            }
        }
    }

    fn quarantine_format(&self) -> Option<Format> {
        self.site(&self.model.columns.rows_like).map(|site| site.format)
    }

    /// The files of quarantined rows: with reasons, and one that can be an input again.
    fn quarantine(&self, order: Order<'_>, bad: &[BadRow]) -> (Vec<Written>, Vec<Bytes>) {
        if bad.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let columns = &self.model.columns;
        let mut files = vec![("reasons.jsonl", quarantine::reasons(&self.run, order, &columns.rows_like, bad))];
        match self.quarantine_format() {
            Some(Format::Csv) => files.push(("rows.csv", quarantine::replayable(bad, true))),
            Some(Format::Ndjson) => files.push(("rows.jsonl", quarantine::replayable(bad, false))),
            _ => {}
        }
        files
            .into_iter()
            .map(|(extension, bytes)| {
                let written = Written {
                    path: self.layout.quarantine(&order.partition.id, extension),
                    staged: self.layout.staged(&order.partition.id, order.attempt, extension),
                    size: bytes.len() as u64,
                    sha256: sha256_hex(&bytes),
                };
                (written, bytes)
            })
            .unzip()
    }

    fn failed(&self, order: Order<'_>, failure: Failure, rows: Rows, times: Times) -> Made {
        let outcome = self.outcome(order, Finding::Failed { failure }, rows, times);
        Made { outcome, output: None, quarantine: Vec::new(), log: Bytes::new(), permit: None }
    }

    fn outcome(&self, order: Order<'_>, result: Finding, rows: Rows, times: Times) -> Outcome {
        let etags = order.partition.inputs.iter().map(|(name, source)| (name.clone(), source.etag.clone()));
        Outcome {
            partition: order.partition.id.clone(),
            attempt: order.attempt.to_owned(),
            shard: self.shard.clone(),
            generation: order.generation,
            rows,
            result,
            quarantine: Vec::new(),
            warnings: 0,
            model_digest: self.model.digest.clone(),
            etags: etags.collect(),
            times,
            tries: 1,
            worker_bytes: 0,
            reused: false,
        }
    }

    fn add_busy(&self, duration: Duration) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) += duration;
    }
}

impl Workshop for RWorkshop {
    fn make<'a>(&'a self, order: Order<'a>) -> Pin<Box<dyn Future<Output = Result<Made, Unmade>> + Send + 'a>> {
        Box::pin(self.make(order))
    }

    fn usage(&self) -> Usage {
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.proportional.bytes(self.model.pool.process_ids());
        Usage { busy_seconds: busy.as_secs_f64(), memory_bytes: workers + resident_bytes(std::process::id()) }
    }
}

/// Permits for so many bytes of inputs.
fn memory_units(bytes: u64) -> u32 {
    u32::try_from(bytes.saturating_mul(MEMORY_FACTOR) / MEMORY_UNIT + 1).unwrap_or(u32::MAX)
}

/// A failure without a condition.
fn failure(cause: Cause, message: impl Into<String>) -> Failure {
    Failure { cause, message: message.into(), condition: None }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use arrow_array::{ArrayRef, Float64Array};

    use super::*;

    #[test]
    fn a_small_file_of_many_cells_takes_the_room_of_its_cells() {
        let column = Arc::new(Float64Array::from(vec![1.0; 1 << 20])) as ArrayRef;
        let kept = RecordBatch::try_from_iter([("k", column.clone())]).unwrap();
        let predictions = RecordBatch::try_from_iter([("prediction", column)]).unwrap();
        let (file, _) = encode::encode(Format::Parquet, kept, predictions).unwrap();
        assert!(file.len() < 1 << 20, "{}", file.len());
        assert!(decoded_bytes(&file).unwrap() >= 16 << 20);
        assert_eq!(decoded_bytes(&file.slice(..file.len() - 1)), None);
        assert_eq!(memory_units(16 << 20), 1025);
        assert_eq!(memory_units(u64::MAX), u32::MAX);
    }
}
