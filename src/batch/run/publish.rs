//! Publishing: what was staged and committed becomes visible under its final
//! path. Whoever finds a committed partition unpublished may do it again, for
//! the bytes are the same whoever writes them.

use bytes::Bytes;

use crate::batch::layout::Layout;
use crate::batch::objects::{Objects, StoreTrouble, read_json};
use crate::batch::record::{Finding, Outcome, Written};

/// Publishes what was just committed, from memory.
///
/// # Errors
/// The store's. Another try, or another shard, does it again.
pub async fn publish(
    objects: &dyn Objects,
    layout: &Layout,
    outcome: &Outcome,
    output: Option<Bytes>,
    quarantine: Vec<Bytes>,
) -> Result<(), StoreTrouble> {
    let mut staged = Vec::new();
    if let (Finding::Scored { output: written }, Some(bytes)) = (&outcome.result, output) {
        objects.write(&written.path, bytes).await?;
        staged.push(written);
    }
    for (written, bytes) in outcome.quarantine.iter().zip(quarantine) {
        objects.write(&written.path, bytes).await?;
        staged.push(written);
    }
    finish(objects, layout, outcome, &staged).await
}

/// Publishes what another process committed and may have left unpublished.
///
/// # Errors
/// The store's, or a staged object that is gone although nobody published it.
pub async fn publish_again(
    objects: &dyn Objects,
    layout: &Layout,
    generation: u32,
    partition: &str,
) -> Result<(), StoreTrouble> {
    let path = layout.outcome(generation, partition);
    let Some(outcome) = read_json::<Outcome>(objects, &path).await? else {
        return Err(StoreTrouble::new(format!("{path} is gone")));
    };
    let mut written = Vec::new();
    if let Finding::Scored { output } = &outcome.result {
        written.push(output);
    }
    written.extend(&outcome.quarantine);
    for written in &written {
        match objects.read(&written.staged).await? {
            Some(bytes) => objects.write(&written.path, bytes).await?,
            // Whoever removed it had published it and said so.
            None if objects.read(&layout.published(generation, partition)).await?.is_some() => return Ok(()),
            None => return Err(StoreTrouble::new(format!("{} is gone and was never published", written.staged))),
        }
    }
    finish(objects, layout, &outcome, &written).await
}

/// Says that all is published, and only then removes what was staged.
async fn finish(
    objects: &dyn Objects,
    layout: &Layout,
    outcome: &Outcome,
    staged: &[&Written],
) -> Result<(), StoreTrouble> {
    let mark = layout.published(outcome.generation, &outcome.partition);
    objects.write(&mark, Bytes::from(outcome.attempt.clone())).await?;
    for written in staged {
        // What stays behind costs space and nothing else.
        if let Err(error) = objects.remove(&written.staged).await {
            tracing::debug!("{} could not be removed: {error}", written.staged);
        }
    }
    Ok(())
}
