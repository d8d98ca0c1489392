//! Taking over what an earlier run made of the same inputs, with the same model
//! and job: its output is copied, and R isn't asked.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::digest::sha256_hex;
use crate::batch::layout::Layout;
use crate::batch::objects::{Objects, StoreTrouble, read_json};
use crate::batch::plan::PlanHead;
use crate::batch::record::{Finding, Outcome, Times, Written};
use crate::batch::run::{Made, Order};

/// An earlier run of the same job on the same broadcast inputs.
pub struct Earlier {
    objects: Arc<dyn Objects>,
    layout: Layout,
}

impl Earlier {
    /// The run of that id, if its results can be those of this run.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(objects: Arc<dyn Objects>, run: &str, head: &PlanHead) -> Result<Option<Self>, StoreTrouble> {
        let layout = Layout::new(run);
        let earlier = read_json::<PlanHead>(&*objects, &layout.plan()).await?;
        let same = earlier.is_some_and(|earlier| {
            earlier.job == head.job
                && earlier.broadcast == head.broadcast
                && head.broadcast.iter().all(|(_, source)| source.etag.is_some())
        });
        Ok(same.then_some(Self { objects, layout }))
    }

    /// What the earlier run made of a partition, as an attempt of this one; none when
    /// anything differs or is gone.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn made(
        &self,
        order: Order<'_>,
        layout: &Layout,
        shard: &str,
        model_digest: &str,
    ) -> Result<Option<Made>, StoreTrouble> {
        let partition = order.partition;
        let path = self.layout.outcome(0, &partition.id);
        let Some(earlier) = read_json::<Outcome>(&*self.objects, &path).await? else { return Ok(None) };
        let sources = partition.inputs.iter().map(|(name, source)| (name.clone(), source.etag.clone()));
        let same = earlier.model_digest == model_digest
            && earlier.etags.iter().all(|(_, etag)| etag.is_some())
            && earlier.etags.iter().cloned().eq(sources);
        let Finding::Scored { output } = &earlier.result else { return Ok(None) };
        if !same {
            return Ok(None);
        }
        let Some(bytes) = self.read(output).await? else { return Ok(None) };
        let staged = |name: &str| layout.staged(&partition.id, order.attempt, name);
        let output = Written { path: partition.output.clone(), staged: staged("output"), ..output.clone() };
        let (mut quarantine, mut files) = (Vec::new(), Vec::new());
        for written in &earlier.quarantine {
            let Some(file) = self.read(written).await? else { return Ok(None) };
            let extension = written.staged.rsplit('/').next().unwrap_or("rows");
            quarantine.push(Written {
                path: layout.quarantine(&partition.id, extension),
                staged: staged(extension),
                ..written.clone()
            });
            files.push(file);
        }
        let outcome = Outcome {
            attempt: order.attempt.to_owned(),
            shard: shard.to_owned(),
            generation: order.generation,
            result: Finding::Scored { output },
            quarantine,
            times: Times::default(),
            tries: 0,
            reused: true,
            ..earlier
        };
        Ok(Some(Made { outcome, output: Some(bytes), quarantine: files, log: Bytes::new(), permit: None }))
    }

    /// A published object, if it is still what was published.
    async fn read(&self, written: &Written) -> Result<Option<Bytes>, StoreTrouble> {
        let bytes = self.objects.read(&written.path).await?;
        Ok(bytes.filter(|bytes| sha256_hex(bytes) == written.sha256))
    }
}
