//! Work that takes long enough to hold up the other connections of a thread is
//! done beside the event loop.

use actix_web::web;

use crate::error::{Error, Result};

/// Runs `work` here when it is small, else on a blocking thread. Dropping the
/// future does not stop work that was begun.
///
/// # Errors
/// Those of `work`; [`Kind::Internal`](crate::error::Kind::Internal) when it panicked.
pub(crate) async fn offload<T: Send + 'static>(
    large: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if large { web::block(work).await.unwrap_or_else(|lost| Err(Error::internal(lost.to_string()))) } else { work() }
}
