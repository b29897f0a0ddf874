//! What operators ask for, and what became of it.

use jiff::Timestamp;
use serde::Serialize;

use super::Filter;
use crate::core::ids::{AccountName, TeardownId, TenantId};

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Start no new write (account, or everything).
    Pause,
    /// End a pause.
    Resume,
    /// Stop these teardowns until they are released.
    Hold,
    /// End a hold.
    Release,
    /// End these teardowns, unless a DELETE is unsettled or accepted.
    Abort,
    /// Queue failed teardowns anew.
    Retry,
    /// Lift a halt of an account.
    Unhalt,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 7] = [
        Self::Pause,
        Self::Resume,
        Self::Hold,
        Self::Release,
        Self::Abort,
        Self::Retry,
        Self::Unhalt,
    ];

    /// The stable name used in `operator_requests.verb`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Unhalt => "unhalt",
        }
    }

    /// The verb of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

/// A request of an operator: stored, applied and answered in one transaction. A row typed into
/// `operator_requests` by SQL is the same thing, applied at the daemon's next tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRequest {
    /// What.
    pub verb: Verb,
    /// On what. For pause, resume and unhalt only the account counts; `None` is everything.
    pub filter: Filter,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// Until when, for a pause.
    pub until: Option<Timestamp>,
    /// For a retry: send what is held to be impossible, to find out.
    pub try_anyway: bool,
}

/// What became of one teardown, or of the account, in an operator's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestEffect {
    /// The teardown; `None` for an account.
    pub id: Option<TeardownId>,
    /// The account; `None` for everything.
    pub account: Option<AccountName>,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// Whether it was changed.
    pub applied: bool,
    /// What was done, or why not: for an abort, what had been cancelled by then.
    pub text: String,
}
