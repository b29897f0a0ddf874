//! How long a client is asked to stay away.

/// How a `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryAfterForm {
    /// In seconds, as Partner Center documents it.
    #[default]
    Seconds,
    /// As an HTTP date.
    Date,
}
