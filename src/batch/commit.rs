//! The commit of a partition: the creation of its outcome. It is the only truth
//! about the partition, and needs nothing from a store but create-if-absent.
//! Whatever the store answers but a plain success is settled by reading the
//! object back: a reply may be lost, and a store may answer a retry of our own
//! write that "it exists".

use std::time::Duration;

use super::objects::{Created, Objects, StoreTrouble, read_json, to_json};
use super::record::Outcome;

/// Whose outcome counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Ours.
    Won,
    /// Another attempt's.
    Lost(Box<Outcome>),
}

/// How long a commit goes on trying.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often.
    pub tries: u32,
    /// The first pause; each is twice the one before.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 8, pause: Duration::from_millis(100) }
    }
}

/// Commits an outcome.
///
/// # Errors
/// It is unknown who won: the store could be neither written nor read. What was
/// staged must stay, for the outcome may be there all the same.
pub async fn commit(
    objects: &dyn Objects,
    path: &str,
    outcome: &Outcome,
    patience: Patience,
) -> Result<Verdict, StoreTrouble> {
    let bytes = to_json(outcome)?;
    let mut pause = patience.pause;
    let mut trouble = None;
    for attempt in 0..patience.tries.max(1) {
        if attempt > 0 {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        match objects.create(path, bytes.clone()).await {
            Ok(Created::New) => return Ok(Verdict::Won),
            Ok(Created::Exists) => {}
            Err(error) => trouble = Some(error),
        }
        match read_json::<Outcome>(objects, path).await {
            Ok(Some(there)) if there.attempt == outcome.attempt => return Ok(Verdict::Won),
            Ok(Some(there)) => return Ok(Verdict::Lost(Box::new(there))),
            // Nothing was written, whatever the answer was.
            Ok(None) => {}
            Err(error) => trouble = Some(error),
        }
    }
    Err(trouble.unwrap_or_else(|| StoreTrouble::new(format!("{path} can be neither created nor read"))))
}
