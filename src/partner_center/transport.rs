//! The edge to the network: one request out, one answer in. The daemon uses the implementation over
//! reqwest; tests under simulated time hand the simulator in directly.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::core::clock::BoxFuture;

/// A request, complete. Names of headers are as written; values may be secret.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// Absolute URL.
    pub url: url::Url,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
    /// Limit on the whole exchange.
    pub timeout: Duration,
    /// On a connection of its own. One that was kept may be dead, which shows only when it is used.
    pub fresh: bool,
}

impl fmt::Debug for Request {
    /// Leaves out headers and body: both may hold secrets (invariant 13).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// An answer, read to its end.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

impl Response {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl fmt::Debug for Response {
    /// Leaves out the body: a token answer is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why no whole answer came. For a write each of these means the outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No answer in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The connection could not be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection was closed before anything of an answer came, as one that was kept for too long.
    #[error("the connection was closed before an answer: {0}")]
    Closed(String),
    /// The answer was cut off or larger than allowed, or nothing could be sent.
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

/// Sends a request and reads the whole answer. Follows no redirect. Repeats nothing but what the
/// protocol guarantees not to have been processed.
pub trait Transport: Send + Sync + fmt::Debug {
    /// One exchange.
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}
