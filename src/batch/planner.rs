//! Making the plan: one listing per input, joined on the captures, largest
//! partitions first. No R is started for it.

mod outputs;
mod split;

use bytes::Bytes;
use futures_util::stream::TryStreamExt;

use super::digest::sha256_hex;
use super::job::{Job, Missing, RUN_CAPTURE, Split};
use super::join::{self, Join, JoinInput, Joined, partition_id};
use super::layout::{LATEST, Layout};
use super::objects::{Objects, StoreTrouble, read_json, to_json};
use super::plan::{self, Partition, PlanHead, Source, VERSION};
use super::sites::{self, InputSite, Sites};

/// How many missing keys a plan lists.
const LISTED: usize = 100;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The job can't be done as it stands.
    #[error("there is no plan:\n  - {}", .0.join("\n  - "))]
    Job(Vec<String>),
    /// A store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreTrouble),
}

/// A plan that is not yet anybody's.
#[derive(Debug)]
pub struct Draft {
    /// Its head.
    pub head: PlanHead,
    /// Its partitions, largest first.
    pub partitions: Vec<Partition>,
    /// What lies beside inputs and looks much like one.
    pub unmatched: Vec<Unmatched>,
    encoded: Vec<u8>,
}

/// Objects in the folder of an input that end as its paths do, and are none of them:
/// perhaps they were meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Name of the input.
    pub input: String,
    /// Its template.
    pub template: String,
    /// How many there are.
    pub count: u64,
    /// Path of the first one.
    pub example: String,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { input, template, count, example } = self;
        let objects = if *count == 1 { "object does" } else { "objects do" };
        write!(f, "{count} {objects} not fit inputs.{input} ({template}), such as {example}")
    }
}

/// Lists and joins the inputs.
///
/// # Errors
/// See [`PlanError`].
pub async fn draft(job: &Job, sites: &Sites, run: &str, model_digest: Option<String>) -> Result<Draft, PlanError> {
    let mut inputs = Vec::new();
    let mut unmatched = Vec::new();
    for site in &sites.inputs {
        let (input, beside) = list(site).await?;
        inputs.push(input);
        unmatched.extend(beside);
    }
    let Join { complete, missing, broadcast } = join::join(inputs).map_err(PlanError::Job)?;
    if job.partition.missing == Missing::Fail && !missing.is_empty() {
        let mut problems: Vec<String> = missing
            .iter()
            .take(LISTED)
            .map(|key| format!("{} is missing in {}", key.partition, key.inputs.join(" and ")))
            .collect();
        if missing.len() > LISTED {
            problems.push(format!("and {} more keys", missing.len() - LISTED));
        }
        problems.push("set partition.missing to \"quarantine\" or \"ignore\" to go on without them".to_owned());
        return Err(PlanError::Job(problems));
    }
    let mut partitions = Vec::with_capacity(complete.len());
    for joined in complete {
        let whole = partition(job, sites, run, joined)?;
        match &job.partition.split {
            Split::None => partitions.push(whole),
            split => partitions.extend(split::split(&sites.inputs[0], whole, split).await?),
        }
    }
    outputs::check(sites, &partitions).map_err(PlanError::Job)?;
    // Largest first, so that none of them is left for the end.
    partitions.sort_by(|a, b| b.bytes().cmp(&a.bytes()).then_with(|| a.id.cmp(&b.id)));
    let encoded = plan::encode(&partitions).map_err(|error| StoreTrouble::new(error.to_string()))?;
    let shared: u64 = broadcast.iter().map(|(_, source)| source.bytes()).sum();
    let listed = if job.partition.missing == Missing::Quarantine { LISTED } else { 0 };
    let head = PlanHead {
        version: VERSION,
        run: run.to_owned(),
        created: jiff::Timestamp::now().to_string(),
        job: job.text.clone(),
        digest: sha256_hex(&encoded),
        partitions: partitions.len() as u64,
        bytes: partitions.iter().map(Partition::bytes).sum::<u64>() + shared,
        model_digest,
        broadcast,
        missing_count: missing.len() as u64,
        missing: missing.into_iter().take(listed).collect(),
    };
    Ok(Draft { head, partitions, unmatched, encoded })
}

impl Draft {
    /// Makes it the plan of its run, unless the run has one.
    ///
    /// # Errors
    /// The store's.
    pub async fn propose(&self, objects: &dyn Objects) -> Result<(), StoreTrouble> {
        let layout = Layout::new(&self.head.run);
        // The list is named by its content, so that rivals don't disturb each other.
        objects.write(&layout.partitions(&self.head.digest), Bytes::from(self.encoded.clone())).await?;
        // Whatever the answer is: whoever reads the plan next has the one that counts.
        if let Err(error) = objects.create(&layout.plan(), to_json(&self.head)?).await
            && read_json::<PlanHead>(objects, &layout.plan()).await?.is_none()
        {
            return Err(error);
        }
        objects.write(LATEST, Bytes::from(self.head.run.clone())).await
    }
}

/// Reads the plan of a run; none when there is no such run.
///
/// # Errors
/// The store's, or a plan that can't be read.
pub async fn read(objects: &dyn Objects, run: &str) -> Result<Option<(PlanHead, Vec<Partition>)>, StoreTrouble> {
    let layout = Layout::new(run);
    let Some(head) = read_json::<PlanHead>(objects, &layout.plan()).await? else { return Ok(None) };
    if head.version != VERSION {
        return Err(StoreTrouble::permanent(format!("run {run} was made by another version of rscore")));
    }
    let path = layout.partitions(&head.digest);
    let Some(bytes) = objects.read(&path).await? else {
        return Err(StoreTrouble::new(format!("{path} is gone")));
    };
    let partitions = plan::decode(&head, &bytes).map_err(|error| StoreTrouble::permanent(error.to_string()))?;
    Ok(Some((head, partitions)))
}

async fn list(site: &InputSite) -> Result<(JoinInput, Option<Unmatched>), PlanError> {
    let trouble = |error| PlanError::Store(sites::trouble(error));
    let mut objects = Vec::new();
    let mut unmatched: Option<Unmatched> = None;
    if site.template.names().is_empty() {
        // One object is asked for by name; its folder may hold a million others.
        let path = site.template.to_string();
        match site.store.head(&path).await {
            Ok(info) => objects.push((Vec::new(), Source { path, size: info.size, etag: info.etag, part: None })),
            Err(error) if error.kind() == crate::store::StoreErrorKind::NotFound => {}
            Err(error) => return Err(trouble(error)),
        }
    } else {
        let mut listed = site.store.list("").map_err(trouble)?;
        while let Some(info) = listed.try_next().await.map_err(trouble)? {
            // The state of runs is nobody's input.
            if outputs::is_state(&info.path) {
                continue;
            }
            if let Some(values) = site.template.read(&info.path) {
                objects.push((values, Source { path: info.path, size: info.size, etag: info.etag, part: None }));
            } else if info.path.ends_with(site.template.end()) {
                let none = || Unmatched {
                    input: site.name.clone(),
                    template: site.written.clone(),
                    count: 0,
                    example: info.path,
                };
                unmatched.get_or_insert_with(none).count += 1;
            }
        }
    }
    Ok((JoinInput { name: site.name.clone(), template: site.template.clone(), objects }, unmatched))
}

fn partition(job: &Job, sites: &Sites, run: &str, joined: Joined) -> Result<Partition, PlanError> {
    let Joined { key, inputs } = joined;
    let value = |name: &str| match name {
        RUN_CAPTURE => Some(run),
        name => key.get(name).map(String::as_str),
    };
    let output = sites.output_template.write(value).ok_or_else(|| {
        PlanError::Job(vec![format!("the output {} has a capture that no input has", job.output.template)])
    })?;
    Ok(Partition { id: partition_id(&key), inputs, output })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::batch::simulation::store::{Link, SimulatedStore};

    #[tokio::test(start_paused = true)]
    async fn a_plan_that_can_not_be_read_stays_so() {
        let layout = Layout::new("r");
        let head = |version: u32| {
            serde_json::json!({
                "version": version, "run": "r", "created": "", "job": "", "digest": "d", "partitions": 1, "bytes": 0,
                "model_digest": null, "broadcast": [], "missing": [], "missing_count": 0,
            })
        };
        let other = serde_json::json!({ "version": VERSION + 1, "shape": "another" });
        for (head, part) in [
            (head(VERSION + 1), "another version of rscore"),
            (head(VERSION), "was changed"),
            (other, "is not what it should be"),
        ] {
            let objects = BTreeMap::from([
                (layout.plan(), Bytes::from(head.to_string())),
                (layout.partitions("d"), Bytes::from_static(b"other")),
            ]);
            let link = Link::new(Arc::new(SimulatedStore::holding(objects)));
            let trouble = read(&link, "r").await.unwrap_err();
            assert!(trouble.is_permanent() && trouble.to_string().contains(part), "{trouble}");
        }
    }
}
