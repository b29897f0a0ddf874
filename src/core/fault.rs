//! Error answers of Partner Center and what each means for the work.
//!
//! The codes are documented (MicrosoftDocs/partner-center-sdk, `error-codes.md`, and the later copy
//! kvamseek/partner-center of October 2023); which class a code falls in is our own judgement.

use std::fmt;

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
    /// The whole body of a structured fault, trimmed and redacted: of a code that nobody knows, its
    /// other fields may tell more than its text.
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
    /// S: safety stop of the whole account.
    SafetyStop,
    /// 401: one new token, then the account's credential is refused.
    Unauthorized,
    /// The customer is gone, or the relationship with it is.
    CustomerGone,
    /// A structured 4xx that is in no table: stop this customer.
    Unknown,
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
    /// The whole body, where its code is in no table.
    pub body: Option<String>,
}

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
        f.write_str(self.body.as_ref().unwrap_or(&self.text))
    }
}

/// What kept a read from bringing a fact, reduced to what the decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A passing failure of this tenant's own read; spends an attempt.
    Transient(String),
    /// The whole account is closed or out: wait until then, spend no attempt.
    Account {
        /// Which kind of wait.
        reason: super::reason::Reason,
        /// When it is worth another look.
        until: Timestamp,
        /// In words.
        text: String,
    },
    /// The API refuses the read for good; the teardown cannot go on without a person.
    Permanent(Fault),
}
