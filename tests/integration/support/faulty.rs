//! A store that fails as real ones do: replies that are lost, answers with the
//! other code, writes that are sent twice or arrive late, calls that never end.
//! What happens to each call is decided by the test.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What a caller wants of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How many calls came before.
    pub number: usize,
    pub verb: Verb,
    /// Of the object, or the folder that is listed.
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Create if absent.
    Create,
    Overwrite,
    Read,
    List,
    Delete,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not done, and the caller is told of an error.
    Refused,
    /// It is done, and the caller is told of an error.
    LostReply,
    /// A write is done twice, as by a client that repeats it after a lost reply;
    /// the caller sees the second answer.
    Repeated,
    /// That there is an object already is said by code 412 rather than 409.
    OtherCode,
    /// A write is done before the next call, after the caller was told of an error.
    Late,
    /// It never ends.
    Hangs,
}

/// Decides about each call.
pub type Script = Box<dyn FnMut(&Call) -> Fault + Send>;

/// The faulty store.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

struct State {
    calls: usize,
    script: Script,
    late: Vec<(Path, PutPayload, PutOptions)>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn ObjectStore>, script: impl FnMut(&Call) -> Fault + Send + 'static) -> Arc<Self> {
        let state = State { calls: 0, script: Box::new(script), late: Vec::new() };
        Arc::new(Self { inner, state: Mutex::new(state) })
    }

    /// Begins a call: late writes arrive, and its fault is decided.
    async fn begin(&self, verb: Verb, path: &Path) -> Fault {
        let (fault, late) = self.decide(verb, path);
        for (path, payload, options) in late {
            // Nobody hears of its answer.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        if fault == Fault::Hangs {
            std::future::pending::<()>().await;
        }
        fault
    }

    fn decide(&self, verb: Verb, path: &Path) -> (Fault, Vec<(Path, PutPayload, PutOptions)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let call = Call { number: state.calls, verb, path: path.to_string() };
        state.calls += 1;
        ((state.script)(&call), std::mem::take(&mut state.late))
    }

    /// What a read or a list gives.
    async fn answer<T>(&self, fault: Fault, result: impl Future<Output = Result<T>>) -> Result<T> {
        match fault {
            Fault::Refused | Fault::LostReply | Fault::Late => Err(away()),
            _ => result.await,
        }
    }
}

/// The error of a store that is not there.
fn away() -> Error {
    let cause = std::io::Error::new(std::io::ErrorKind::TimedOut, "the store did not answer");
    Error::Generic { store: "FaultyStore", source: cause.into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let verb = if options.mode == PutMode::Create { Verb::Create } else { Verb::Overwrite };
        let fault = self.begin(verb, location).await;
        let put = || self.inner.put_opts(location, payload.clone(), options.clone());
        match fault {
            Fault::Refused => Err(away()),
            Fault::LostReply => put().await.and(Err(away())),
            Fault::Repeated => {
                let _ = put().await;
                put().await
            }
            Fault::OtherCode => put().await.map_err(|error| match error {
                Error::AlreadyExists { path, source } => Error::Precondition { path, source },
                other => other,
            }),
            Fault::Late => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.late.push((location.clone(), payload, options));
                Err(away())
            }
            Fault::None | Fault::Hangs => put().await,
        }
    }

    /// The parts of a large object are not disturbed, only its beginning.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.begin(Verb::Overwrite, location).await;
        self.answer(fault, self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.begin(Verb::Read, location).await;
        self.answer(fault, self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let fault = self.begin(Verb::Read, location).await;
        self.answer(fault, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        // Streams outlive the borrow of the store; one decision is for all of it.
        let (fault, _) = self.decide(Verb::Delete, &Path::default());
        let refused = matches!(fault, Fault::Refused | Fault::Late);
        let lost = fault == Fault::LostReply;
        if refused {
            return stream::iter([Err(away())]).boxed();
        }
        inner.delete_stream(locations).map(move |deleted| if lost { Err(away()) } else { deleted }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (fault, late) = self.decide(Verb::List, prefix.unwrap_or(&Path::default()));
        let inner = Arc::clone(&self.inner);
        let prefix = prefix.cloned();
        let listed = async move {
            for (path, payload, options) in late {
                let _ = inner.put_opts(&path, payload, options).await;
            }
            match fault {
                Fault::Refused | Fault::LostReply | Fault::Late => stream::iter([Err(away())]).boxed(),
                Fault::Hangs => stream::pending().boxed(),
                _ => inner.list(prefix.as_ref()),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let fault = self.begin(Verb::List, prefix.unwrap_or(&Path::default())).await;
        self.answer(fault, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.begin(Verb::Overwrite, to).await;
        self.answer(fault, self.inner.copy_opts(from, to, options)).await
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
