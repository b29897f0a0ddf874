//! One request that went out, as a ticket to Microsoft names it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::calls::Call;
use super::decode::tidy;
use super::throttle;
use super::transport::Response;
use crate::core::fault::{FailedCall, Kept};

/// A call and, once it was made, what names that one request of it. Errors carry it, so that whoever
/// stores a failure can say which request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The call.
    pub call: Call,
    /// The request; `None` while nothing was sent.
    pub sent: Option<SentAs>,
    /// HTTP status of the answer, where one came.
    pub status: Option<u16>,
    /// For how long a 5xx asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// The ids under which a request went out, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAs {
    /// `MS-RequestId`; the token endpoint knows none.
    pub request_id: Option<Uuid>,
    /// `MS-CorrelationId`, to the token endpoint `client-request-id`.
    pub correlation_id: Uuid,
    /// When it was sent.
    pub at: Timestamp,
}

impl Exchange {
    /// A request of this call that goes out now.
    pub(super) fn sent(call: Call, sent: SentAs) -> Self {
        Self { call, sent: Some(sent), status: None, retry_after: None }
    }

    /// The same with its answer, which came `now`.
    pub(super) fn answered(self, response: &Response, now: Timestamp) -> Self {
        let failed = response.status >= 500;
        let retry_after = failed.then(|| throttle::retry_after(response, now)).flatten();
        Self { status: Some(response.status), retry_after, ..self }
    }

    /// Its failure, fit to be stored; `None` where nothing was sent.
    pub(super) fn failed(
        &self,
        code: Option<String>,
        text: &str,
        kept: Kept,
    ) -> Option<FailedCall> {
        let sent = self.sent?;
        Some(FailedCall {
            at: sent.at,
            method: self.call.method.to_owned(),
            route: self.call.route.to_owned(),
            request_id: sent.request_id,
            correlation_id: Some(sent.correlation_id),
            http_status: self.status,
            ms_code: code,
            text: tidy(text),
            answer_ids: kept.ids,
            body: kept.body,
        })
    }
}

impl From<Call> for Exchange {
    fn from(call: Call) -> Self {
        Self { call, sent: None, status: None, retry_after: None }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
