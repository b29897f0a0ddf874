//! Requests as they arrive and answers as they leave.

use std::time::Duration;

use bytes::Bytes;

/// A request, complete.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// HTTP method, in upper case.
    pub method: String,
    /// Path, from its first slash.
    pub path: String,
    /// Query, without the question mark.
    pub query: Option<String>,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Bytes,
}

impl Call {
    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a query parameter, whatever the case of its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    }

    /// Whether it is meant to change something.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }
}

/// An answer, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// How the exchange ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The answer arrives whole.
    Whole(Answer),
    /// The connection breaks in the middle of the body.
    CutOff(Answer),
    /// The connection is closed without an answer.
    Dropped,
}

/// What becomes of a call. The state has already changed; the answer is due after `delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The number of the call in the journal.
    pub call: u64,
    /// From the arrival of the call to its answer.
    pub delay: Duration,
    /// How it ends.
    pub delivery: Delivery,
}

impl Reply {
    /// The answer, if one arrives whole.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.delivery {
            Delivery::Whole(answer) => Some(answer),
            Delivery::CutOff(_) | Delivery::Dropped => None,
        }
    }
}
