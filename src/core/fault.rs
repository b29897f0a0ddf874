//! Error answers of Partner Center and what each means for the work.
//!
//! The codes are documented (MicrosoftDocs/partner-center-sdk, `error-codes.md`, and the later copy
//! kvamseek/partner-center of October 2023); which class a code falls in is our own judgement.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// A fault as it was read from an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// Microsoft's code (`code`, number or text), where the body has one.
    pub code: Option<String>,
    /// Description or message, trimmed and redacted.
    pub text: String,
    /// `source`, where the body has one.
    pub source: Option<String>,
    /// Whether the body had one of Partner Center's own shapes. A gateway's `{statusCode, message}`,
    /// HTML, an empty body or broken JSON is not structured.
    pub structured: bool,
    /// Whether the answer carried headers that only Partner Center sets (`MS-RequestId`,
    /// `MS-CorrelationId`, `MS-CV`, `MS-ServerId`). A gateway before it sets none of them (recorded in
    /// PartnerCenterSamples/training-course).
    pub own: bool,
    /// `property_name` among the pairs of `data`, in lower case: which thing the fault is about.
    pub property: Option<String>,
    /// Its class where that is known from elsewhere than its code: from `[codes]` of the configuration, or from the call that
    /// it answers. A built-in safety stop stands above it.
    pub told: Option<Class>,
    /// The answer itself, for where it is not understood.
    pub kept: Kept,
}

/// An answer as it came, fit to be stored: trimmed, redacted and bounded in size. Of an answer that is
/// not understood, any part of it may tell more than its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The ids among its headers, by name, for a ticket to Microsoft.
    pub ids: Option<String>,
    /// The body.
    pub body: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, ", code {code}")?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

/// What to do about a fault. Letters refer to the table in `docs/api-facts.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// R: try again with backoff, after reading the remote state.
    Retry,
    /// R after `Retry-After`: the whole account is closed until then.
    Throttled,
    /// W: wait and poll; spends no attempts.
    Wait,
    /// O: this route does not work for this purchase; take the other one.
    OtherRoute,
    /// D: done already; confirm by reading.
    AlreadyDone,
    /// P: permanent; tell the operator.
    Permanent,
    /// A: it is the partner that is refused, and not what was asked for. Told by one tenant it may be
    /// that tenant's own; told by several, it is the account's.
    Access,
    /// S: safety stop of the whole account.
    SafetyStop,
    /// 401: one new token, then the account's credential is refused.
    Unauthorized,
    /// The customer is gone, or the relationship with it is.
    CustomerGone,
    /// A structured 4xx that is in no table: stop this customer.
    Unknown,
}

impl Class {
    /// The classes that `[codes]` of the configuration may give an answer, by the words used there.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("wait", Self::Wait),
        ("retry", Self::Retry),
        ("done", Self::AlreadyDone),
        ("gone", Self::CustomerGone),
        ("other_route", Self::OtherRoute),
        ("permanent", Self::Permanent),
        ("safety_stop", Self::SafetyStop),
    ];

    /// The class of one of those words.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, class)| class)
    }

    /// How it is called in the configuration and in texts.
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.into_iter().find(|(_, class)| *class == self);
        known.map_or(
            match self {
                Self::Throttled => "throttled",
                Self::Unauthorized => "unauthorized",
                _ => "unknown",
            },
            |(word, _)| word,
        )
    }
}

/// A call that failed, with all that a ticket to Microsoft needs of it. Nothing in it is secret: texts
/// are trimmed and redacted, and the route has names in place of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedCall {
    /// When the request was sent.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path below the API base, with names in place of ids.
    pub route: String,
    /// `MS-RequestId`; the token endpoint knows none.
    pub request_id: Option<Uuid>,
    /// `MS-CorrelationId`, to the token endpoint `client-request-id`.
    pub correlation_id: Option<Uuid>,
    /// HTTP status, where an answer came.
    pub http_status: Option<u16>,
    /// Microsoft's code, where the answer had one.
    pub ms_code: Option<String>,
    /// Microsoft's text, or what became of the connection.
    pub text: String,
    /// The ids that the answer itself carried in its headers, where it is not understood.
    pub answer_ids: Option<String>,
    /// The whole body, where the answer is not understood.
    pub body: Option<String>,
}

/// How many characters of a kept body stand in one line; `support` shows all of it.
const SHOWN: usize = 500;

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.route)?;
        if let Some(status) = self.http_status {
            write!(f, "HTTP {status}")?;
            if let Some(code) = &self.ms_code {
                write!(f, ", code {code}")?;
            }
            write!(f, ": ")?;
        }
        let Some(body) = &self.body else { return f.write_str(&self.text) };
        match body.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", &body[..end]),
            None => f.write_str(body),
        }
    }
}

/// What kept a read from bringing a fact, reduced to what the decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A passing failure of this tenant's own; spends an attempt.
    Transient {
        /// In words.
        text: String,
        /// The answer asked to be left alone for so long.
        wait: Duration,
    },
    /// The whole account is closed or out: wait until then, spend no attempt.
    Account {
        /// Which kind of wait.
        reason: super::reason::Reason,
        /// When it is worth another look.
        until: Timestamp,
        /// In words.
        text: String,
    },
    /// The API refuses the read, for now or for good.
    Refused(Fault),
}
