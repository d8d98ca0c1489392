//! What can go wrong with a store: who is at fault, whether trying again can
//! help, and words that hold no secret. The library's own texts are not shown as
//! they are: they may quote URLs with signatures, and pages of XML.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

/// Result of anything that may fail in a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failure of a store, or of a request to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// A location, a path or a setting of the store can't be meant so.
    Invalid,
    /// No such object, container or bucket.
    NotFound,
    /// The object is not the one that was asked for: its etag is another.
    Changed,
    /// The object is larger than the caller can take.
    TooLarge,
    /// No credentials, or ones without the right.
    Denied,
    /// The store, or the way to it, does not answer as it should: overloaded, away, too slow.
    Unavailable,
    /// The store answered something that can't be used.
    Failed,
}

/// Longest explanation that is taken over from a store, in characters.
const MAX_EXPLANATION: usize = 300;

impl StoreError {
    /// An error with a sentence for people that says what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What went wrong.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later. The store's client has then
    /// tried more than once, within `store.max_retries` and `store.retry_timeout`.
    pub fn is_retryable(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }

    /// What the library says about `subject`, classified and cleaned.
    pub(super) fn about(subject: &impl std::fmt::Display, error: &object_store::Error) -> Self {
        let kind = classify(error);
        let advice = match kind {
            StoreErrorKind::Denied => "; check the credentials in the environment and their rights",
            _ => "",
        };
        Self { kind, message: format!("{subject}: {}{advice}", explain(error)) }
    }
}

fn classify(error: &object_store::Error) -> StoreErrorKind {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => StoreErrorKind::NotFound,
        Error::Precondition { .. } | Error::NotModified { .. } => StoreErrorKind::Changed,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::Denied,
        Error::InvalidPath { .. } | Error::UnknownConfigurationKey { .. } => StoreErrorKind::Invalid,
        Error::Generic { source, .. } => classify_cause(source.as_ref()),
        _ => StoreErrorKind::Failed,
    }
}

/// The kind of an error that the library does not classify, by its causes.
fn classify_cause(source: &(dyn StdError + 'static)) -> StoreErrorKind {
    let mut cause = Some(source);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return match error.kind() {
                HttpErrorKind::Decode | HttpErrorKind::Unknown => StoreErrorKind::Failed,
                _ => StoreErrorKind::Unavailable,
            };
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => StoreErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted => StoreErrorKind::Unavailable,
                _ => StoreErrorKind::Failed,
            };
        }
        cause = error.source();
    }
    // The type that has the status is private to the library; its text has it too.
    match status(&source.to_string()) {
        Some(408 | 429 | 500..) => StoreErrorKind::Unavailable,
        Some(401 | 403) => StoreErrorKind::Denied,
        _ => StoreErrorKind::Failed,
    }
}

fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The library's words without secrets: code and message of a store's XML where
/// there is one, else the innermost cause.
fn explain(error: &object_store::Error) -> String {
    let text = error.to_string();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
    };
    let explanation = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => {
            format!("{code}: {}", message.lines().next().unwrap_or_default().trim_end_matches('.'))
        }
        _ => innermost(error),
    };
    let explanation = redact(&explanation);
    match explanation.char_indices().nth(MAX_EXPLANATION) {
        Some((end, _)) => format!("{}...", &explanation[..end]),
        None => explanation,
    }
}

fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    // What begins a cause chain of a status is more telling than its end.
    text.split("status code: ").last().unwrap_or(&text).trim_end_matches([' ', ':']).to_owned()
}

/// Cuts what follows a question mark, where signatures of URLs are.
fn redact(text: &str) -> String {
    let cut = |word: &str| match word.split_once('?') {
        Some((before, after)) if after.contains('=') => format!("{before}?..."),
        _ => word.to_owned(),
    };
    text.split_whitespace().map(cut).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "MicrosoftAzure", source: text.to_owned().into() }
    }

    #[test]
    fn a_status_decides_whether_to_try_again() {
        let kind = |text: &str| StoreError::about(&"x", &generic(text)).kind();
        assert_eq!(kind("Server returned non-2xx status code: 503 Service Unavailable: "), StoreErrorKind::Unavailable);
        assert_eq!(kind("Server returned non-2xx status code: 429 Too Many Requests: "), StoreErrorKind::Unavailable);
        assert_eq!(kind("Server returned non-2xx status code: 400 Bad Request: "), StoreErrorKind::Failed);
        assert_eq!(kind("something else"), StoreErrorKind::Failed);
    }

    #[test]
    fn the_words_hold_no_signature_and_no_xml() {
        let error = generic(
            "Error performing PUT https://a.blob.core.windows.net/c/b?sv=1&sig=swordfish in 3ms - Server returned \
             non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code>\
             <Message>Server failed to authenticate the request.\nRequestId:1</Message><Detail>sig=swordfish</Detail></Error>",
        );
        let error = StoreError::about(&"az://c/b", &error);
        assert_eq!(
            error.to_string(),
            "az://c/b: AuthenticationFailed: Server failed to authenticate the request; check the credentials in the \
             environment and their rights"
        );
        let error = StoreError::about(&"x", &generic("no route to https://a/c?sig=swordfish now"));
        assert_eq!(error.to_string(), "x: no route to https://a/c?... now");
    }

    #[test]
    fn causes_of_the_file_system_are_told_apart() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = object_store::Error::Generic { store: "LocalFileSystem", source: denied.into() };
        assert_eq!(StoreError::about(&"x", &error).kind(), StoreErrorKind::Denied);
    }
}
