//! One error type for every failure that a caller or an operator may see: who
//! is at fault, whether trying again can help, and which words may leave the
//! server. It knows no protocol; each door maps [`Kind`] to its own convention
//! (`http/respond.rs` holds the table of the HTTP doors).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Result of anything that may fail in front of a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose mistake a failure is. Decides what is logged, alerted on and retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request can't be answered as it was sent.
    Client,
    /// The model's own code raised an error or crashed.
    Model,
    /// rscore, its configuration or its machine.
    Server,
}

/// What went wrong, in the terms of the prediction contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The body is not what its media type says (syntax, encoding, shape).
    Malformed,
    /// No token, or one that does not verify.
    Unauthenticated,
    /// A good token without the scope that the route needs.
    Forbidden,
    /// No such route, model or version.
    NotFound,
    /// The route exists, the method doesn't.
    MethodNotAllowed {
        /// Methods that the route has, as in an `Allow` header.
        allowed: &'static str,
    },
    /// None of the media types that the caller accepts can be produced.
    NotAcceptable,
    /// The body did not arrive in the time that it may take.
    BodyTimeout,
    /// The body, or what it inflates to, is over a limit.
    TooLarge,
    /// The body's media type or content coding is not supported.
    UnsupportedMediaType,
    /// The body is well formed and does not fit the model's schema.
    Unprocessable,
    /// More is asked than can be answered now.
    Overloaded {
        /// What there is too much of.
        what: Overload,
        /// When a retry is likely to be accepted.
        retry_after: Duration,
    },
    /// The model's code raised an R error.
    ModelFailed(Condition),
    /// The request ended its worker process twice.
    ModelCrashed,
    /// A version that was to be loaded is not fit to serve.
    NotLoaded,
    /// The same request did so a short while ago and was not tried again.
    Quarantined {
        /// When it would be tried again.
        retry_after: Duration,
    },
    /// Starting, draining, or the model could not be loaded.
    Unavailable,
    /// The deadline of the request passed.
    DeadlineExceeded,
    /// A defect or an exhausted resource of the server itself.
    Internal,
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Requests under way on one connection.
    Connection,
    /// Requests that are being answered.
    Requests,
    /// Memory of bodies.
    BodyMemory,
    /// What waits for a worker of a model.
    Queue,
    /// The time that a request would have to wait for one.
    QueueTime,
}

impl Overload {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Connection, Self::Requests, Self::BodyMemory, Self::Queue, Self::QueueTime];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Requests => "requests",
            Self::BodyMemory => "body_memory",
            Self::Queue => "queue",
            Self::QueueTime => "queue_time",
        }
    }
}

/// An R condition as data: what `tryCatch` saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Condition {
    /// Class vector, most specific first, for example `["simpleError", "error", "condition"]`.
    pub class: Vec<String>,
    /// `conditionMessage()`.
    pub message: String,
    /// Deparsed `conditionCall()`, when R knows one.
    pub call: Option<String>,
}

/// One cell, or one column, that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CellError {
    /// Named input the cell belongs to; absent when the model has a single input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Row in the request, counted from 0; absent when the whole column is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    /// Column name.
    pub column: String,
    /// What the schema asks for, in words.
    pub expected: String,
    /// What was sent, shortened.
    pub got: String,
}

/// Every misfit of one request: the first few in full, the rest as a count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellErrors {
    /// The first [`CellErrors::LISTED`] misfits in the order of the body.
    pub listed: Vec<CellError>,
    /// All misfits, listed or not.
    pub count: usize,
}

impl CellErrors {
    /// How many misfits an answer lists.
    pub const LISTED: usize = 20;

    /// Counts a misfit; `build` runs only while there is room to list it.
    pub fn push(&mut self, build: impl FnOnce() -> CellError) {
        self.count += 1;
        if self.listed.len() < Self::LISTED {
            self.listed.push(build());
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A failure with its public text and, apart from it, its cause for the log.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    detail: Cow<'static, str>,
    /// Boxed to keep every `Result` small.
    cells: Option<Box<CellErrors>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error whose `detail` may be shown to the caller: a sentence that
    /// says what was wrong, where, and what to do.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), cells: None, source: None }
    }

    /// [`Kind::Malformed`] with a public detail.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// [`Kind::Internal`]: the caller learns nothing but that it was us; the
    /// cause goes to the log.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "the server failed to answer; the log has the cause under this request id")
            .because(cause)
    }

    /// [`Kind::Unprocessable`] from the misfits that were collected.
    pub fn misfit(cells: CellErrors) -> Self {
        let detail = match cells.listed.first() {
            Some(first) => {
                let place = match first.row {
                    Some(row) => format!("row {row}, column '{}'", first.column),
                    None => format!("column '{}'", first.column),
                };
                let more = match cells.count {
                    0 | 1 => String::new(),
                    n => format!(" ({n} misfits in all)"),
                };
                format!("{place}: expected {}, got {}{more}", first.expected, first.got)
            }
            None => "the data does not fit the model's schema".to_owned(),
        };
        Self { kind: Kind::Unprocessable, detail: detail.into(), cells: Some(Box::new(cells)), source: None }
    }

    /// Adds the cause, which is logged and never sent.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The sentence that may be shown to the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Cells that did not fit, for [`Kind::Unprocessable`].
    pub fn cells(&self) -> Option<&CellErrors> {
        self.cells.as_deref()
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        match self.kind {
            Kind::ModelFailed(_) | Kind::ModelCrashed | Kind::Quarantined { .. } | Kind::NotLoaded => Fault::Model,
            Kind::Overloaded { .. } | Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal => Fault::Server,
            _ => Fault::Client,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}
