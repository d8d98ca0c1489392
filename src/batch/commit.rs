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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::batch::objects::{Answer, Listed};
    use crate::batch::record::{Cause, Failure, Finding, Rows, Times};

    /// What a store makes of a creation, and says of it.
    #[derive(Clone, Copy)]
    enum Reply {
        New,
        /// It is written, and the reply is lost.
        Lost,
        /// It is not written.
        Failed,
        /// Something is there, or is said to be.
        Exists,
    }

    /// A store of one object, with a reply for each creation to come.
    struct Scripted {
        replies: Mutex<VecDeque<Reply>>,
        there: Mutex<Option<Bytes>>,
    }

    impl Scripted {
        fn new(replies: &[Reply], there: Option<&Outcome>) -> Self {
            let there = there.map(|outcome| to_json(outcome).unwrap());
            Self { replies: Mutex::new(replies.iter().copied().collect()), there: Mutex::new(there) }
        }

        fn replies_left(&self) -> usize {
            self.replies.lock().unwrap().len()
        }
    }

    impl Objects for Scripted {
        fn create<'a>(&'a self, _: &'a str, bytes: Bytes) -> Answer<'a, Created> {
            Box::pin(async move {
                let reply = self.replies.lock().unwrap().pop_front().unwrap();
                if matches!(reply, Reply::New | Reply::Lost) {
                    *self.there.lock().unwrap() = Some(bytes);
                }
                match reply {
                    Reply::New => Ok(Created::New),
                    Reply::Exists => Ok(Created::Exists),
                    Reply::Lost | Reply::Failed => Err(StoreTrouble::new("no answer")),
                }
            })
        }

        fn read<'a>(&'a self, _: &'a str) -> Answer<'a, Option<Bytes>> {
            Box::pin(async { Ok(self.there.lock().unwrap().clone()) })
        }

        fn write<'a>(&'a self, path: &'a str, _: Bytes) -> Answer<'a, ()> {
            panic!("a commit overwrites {path}")
        }

        fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
            panic!("a commit lists {folder}")
        }

        fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
            panic!("a commit removes {path}")
        }
    }

    fn outcome(attempt: &str) -> Outcome {
        let failure = Failure { cause: Cause::RError, message: "no".to_owned(), condition: None };
        Outcome {
            partition: "p=1".to_owned(),
            attempt: attempt.to_owned(),
            shard: "0".to_owned(),
            generation: 0,
            rows: Rows::default(),
            result: Finding::Failed { failure },
            quarantine: Vec::new(),
            warnings: 0,
            model_digest: String::new(),
            etags: Vec::new(),
            times: Times::default(),
            tries: 1,
            worker_bytes: 0,
            reused: false,
        }
    }

    async fn committed(store: &Scripted) -> Result<Verdict, StoreTrouble> {
        let patience = Patience { tries: 3, ..Patience::default() };
        let verdict = commit(store, "commits/0/p=1.json", &outcome("ours"), patience).await;
        assert_eq!(store.replies_left(), 0, "it was not tried as often as it should be");
        verdict
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_decides_whatever_the_answer_was() {
        use Reply::{Exists, Failed, Lost, New};
        let theirs = outcome("theirs");
        for replies in [&[New][..], &[Lost], &[Failed, New], &[Exists, Lost], &[Failed, Exists, New]] {
            let store = Scripted::new(replies, None);
            assert_eq!(committed(&store).await.unwrap(), Verdict::Won);
        }
        // The client sent our own creation twice, and tells what became of the second one.
        assert_eq!(committed(&Scripted::new(&[Exists], Some(&outcome("ours")))).await.unwrap(), Verdict::Won);
        for reply in [Exists, Failed] {
            let store = Scripted::new(&[reply], Some(&theirs));
            assert_eq!(committed(&store).await.unwrap(), Verdict::Lost(Box::new(theirs.clone())));
        }
        for replies in [[Failed; 3], [Exists; 3]] {
            committed(&Scripted::new(&replies, None)).await.unwrap_err();
        }
    }
}
