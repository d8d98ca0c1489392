//! Bringing a zygote to where it can be forked: process, bundle, warm-up. A
//! warm-up helps and is never needed: when it spoils the process, another one is
//! started and not warmed up.

use std::io;
use std::time::Duration;

use arrow_array::RecordBatch;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::process::ZygoteProcess;
use super::{PoolSettings, StartError, process};
use crate::frame::schema::Inputs;
use crate::worker::protocol::{
    Encoded, LoadedModel, WarmUpRequest, WarmedUp, ZygoteReply, ZygoteRequest, decode_plain, encode_plain,
};
use crate::worker::transport::{receive_async, send_async};

/// Calls of a warm-up: R compiles a function when it is called for the second
/// time, and what that function calls may be one call behind.
const CALLS: u32 = 3;

/// How long a warm-up may take; the zygote begins no call after a few seconds.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a process may take to end after its socket closed.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A zygote that can be forked.
pub(super) struct Launched {
    pub(super) process: ZygoteProcess,
    pub(super) control: UnixStream,
    pub(super) loaded: LoadedModel,
}

impl Launched {
    async fn end(self) {
        end(self.process, self.control).await;
    }
}

/// Ends a zygote in good order, so that R removes its temporary folder.
async fn end(mut process: ZygoteProcess, control: UnixStream) {
    drop(control);
    let _ = timeout(END_TIMEOUT, process.wait()).await;
}

/// Why a launch with a warm-up came to nothing.
enum Failure {
    /// The bundle could not be loaded.
    Start(StartError),
    /// The bundle was loaded, the warm-up spoilt the process.
    WarmUp(String),
}

/// Starts a zygote and gets it ready. What it loaded is what the identity of the
/// settings says: files that were replaced meanwhile are another generation's.
pub(super) async fn launch(settings: &PoolSettings) -> Result<Launched, StartError> {
    let launched = start(settings).await?;
    let Some(identity) = settings.identity.clone() else { return Ok(launched) };
    match tokio::task::spawn_blocking(move || identity.still_holds()).await {
        Ok(true) => Ok(launched),
        Ok(false) => {
            launched.end().await;
            Err(StartError::Changed)
        }
        Err(error) => Err(StartError::System(io::Error::other(error))),
    }
}

async fn start(settings: &PoolSettings) -> Result<Launched, StartError> {
    let warm_up = settings.warm_up.as_ref().filter(|warm_up| !warm_up.is_given_up());
    match attempt(settings, |loaded| warm_up.and_then(|warm_up| warm_up.rows(loaded))).await {
        Ok(launched) => return Ok(launched),
        Err(Failure::Start(error)) => return Err(error),
        Err(Failure::WarmUp(reason)) => {
            tracing::warn!(
                model.name = %settings.model,
                model.version = settings.version,
                "the model is loaded again and not warmed up, since the first process can't be forked after scoring: {reason}; \
                 warm_up = false in rscore.toml saves the attempt"
            );
            if let Some(warm_up) = warm_up {
                warm_up.give_up();
            }
        }
    }
    attempt(settings, |_| None).await.map_err(|failure| match failure {
        Failure::Start(error) => error,
        Failure::WarmUp(reason) => StartError::Ended(reason),
    })
}

async fn attempt(
    settings: &PoolSettings,
    rows: impl FnOnce(&LoadedModel) -> Option<Inputs<RecordBatch>>,
) -> Result<Launched, Failure> {
    let (mut process, mut control) = process::spawn(settings).map_err(|error| Failure::Start(error.into()))?;
    let loaded = load(settings, &mut process, &mut control).await.map_err(Failure::Start)?;
    match prepare(&mut control, rows(&loaded).as_ref()).await {
        Ok(report) => {
            if let Err(reason) = note(settings, report) {
                end(process, control).await;
                return Err(Failure::WarmUp(reason));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let how = how_it_ended(&mut process).await;
            return Err(Failure::WarmUp(format!("the process ended while it scored ({how})")));
        }
        Err(error) => return Err(Failure::WarmUp(error.to_string())),
    }
    Ok(Launched { process, control, loaded })
}

async fn load(
    settings: &PoolSettings,
    process: &mut ZygoteProcess,
    control: &mut UnixStream,
) -> Result<LoadedModel, StartError> {
    let request = encode_plain(&ZygoteRequest::Load(settings.load.clone()))?;
    match timeout(settings.load_timeout, ask(control, &request)).await {
        Ok(Ok(ZygoteReply::Loaded(loaded))) => Ok(loaded),
        Ok(Ok(ZygoteReply::LoadFailed(condition))) => Err(StartError::Refused(condition)),
        Ok(Ok(other)) => Err(StartError::Ended(format!("it answered a load with {other:?}"))),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StartError::Ended(how_it_ended(process).await))
        }
        Ok(Err(error)) => Err(StartError::System(error)),
        Err(_) => {
            let _ = process.kill().await;
            Err(StartError::TimedOut(settings.load_timeout))
        }
    }
}

/// Has the zygote score the rows, if there are any, and collect garbage.
async fn prepare(control: &mut UnixStream, rows: Option<&Inputs<RecordBatch>>) -> io::Result<WarmedUp> {
    let request = WarmUpRequest::encode(CALLS, rows)?;
    match timeout(WARM_UP_TIMEOUT, ask(control, &request)).await {
        Ok(Ok(ZygoteReply::WarmedUp(report))) => Ok(report),
        Ok(Ok(other)) => Err(io::Error::other(format!("it answered a warm-up with {other:?}"))),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other(format!("it took longer than {} s", WARM_UP_TIMEOUT.as_secs()))),
    }
}

fn note(settings: &PoolSettings, report: WarmedUp) -> Result<(), String> {
    if let Some(reason) = report.unfit {
        return Err(reason);
    }
    if let Some(condition) = report.failure {
        tracing::info!(
            model.name = %settings.model,
            model.version = settings.version,
            "the warm-up ended early, which is no fault when its rows were made up: {}",
            condition.message
        );
    }
    for warning in &report.warnings {
        tracing::debug!(model.name = %settings.model, model.version = settings.version, "warm-up: {warning}");
    }
    Ok(())
}

async fn ask(control: &mut UnixStream, request: &Encoded) -> io::Result<ZygoteReply> {
    match send_async(control, request).await {
        // It ended before it had read everything; why shows in how it ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => Err(error),
        Ok(()) => match receive_async(control, 0).await {
            Ok(Some(message)) => decode_plain(&message.head),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        },
    }
}

async fn how_it_ended(process: &mut ZygoteProcess) -> String {
    match timeout(END_TIMEOUT, process.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        _ => "it closed its socket".to_owned(),
    }
}
