//! What the audit shows: every transition, every command and every request of an operator.

use jiff::Timestamp;
use serde::Serialize;

use super::time::time_text;
use super::{ApproveRequest, ArmRequest, Filter, OperatorRequest, TransitionRecord, joined};
use crate::core::command::Command;
use crate::core::ids::{AccountName, TenantId};
use crate::core::reason::Reason;

/// Which entries. An entry belongs to the time at which it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRange {
    /// From then on.
    pub since: Timestamp,
    /// Before then.
    pub until: Timestamp,
    /// Only this account; with the requests that name no account, which may be about it.
    pub account: Option<AccountName>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub enum AuditEntry {
    /// A teardown changed its state, was held, released or set.
    Transition(TransitionRecord),
    /// A write was committed.
    Command(Box<Command>),
    /// An operator asked for something.
    Request(Box<RequestRecord>),
}

impl AuditEntry {
    /// When it was made.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Transition(transition) => transition.at,
            Self::Command(command) => command.created_at,
            Self::Request(request) => request.created_at,
        }
    }
}

/// A stored request of an operator, as it was written, with its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RequestRecord {
    /// Row number, growing.
    pub id: i64,
    /// What was asked for.
    pub verb: String,
    /// Conditions, several values with commas between.
    pub account: Option<String>,
    /// Tenants.
    pub tenant_id: Option<String>,
    /// Domains, of a protection.
    pub domain: Option<String>,
    /// Rows.
    pub teardown_id: Option<String>,
    /// Batch.
    pub batch: Option<String>,
    /// States.
    pub state: Option<String>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// Until when, of a pause.
    pub until: Option<String>,
    /// Of a retry: whether what is held to be impossible was to be sent.
    pub try_anyway: bool,
    /// Of a set: the new priority.
    pub priority: Option<i64>,
    /// Of a set: the new earliest time.
    pub not_before: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was applied.
    pub answered_at: Option<Timestamp>,
    /// What became of it, a line for each effect.
    pub answer: Option<String>,
}

/// A tenant that a guard kept out of the queue. No row stands for it, so it is kept among what
/// operators asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEnqueue {
    /// The account.
    pub account: AccountName,
    /// The tenant.
    pub tenant_id: TenantId,
    /// Which guard.
    pub guard: Reason,
    /// In words.
    pub text: String,
    /// Who asked.
    pub actor: String,
}

/// The verb under which a refused enqueue is kept; its reason is the guard.
pub(in crate::store) const ENQUEUE: &str = "enqueue";

impl RequestRecord {
    /// The record of a refused enqueue.
    pub(in crate::store) fn of_refused(refused: &RefusedEnqueue, now: Timestamp) -> Self {
        Self {
            verb: ENQUEUE.to_owned(),
            account: Some(refused.account.as_str().to_owned()),
            tenant_id: Some(refused.tenant_id.to_string()),
            actor: refused.actor.clone(),
            reason: Some(refused.guard.as_str().to_owned()),
            created_at: now,
            answered_at: Some(now),
            answer: Some(format!("refused: {}", refused.text)),
            ..Self::default()
        }
    }

    /// The record of an approval.
    pub(in crate::store) fn of_approval(
        request: &ApproveRequest,
        answer: String,
        now: Timestamp,
    ) -> Self {
        Self {
            verb: "approve".to_owned(),
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            ..Self::about(&request.filter, answer, now)
        }
    }

    /// The record of an account that was armed or disarmed.
    pub(in crate::store) fn of_arming(
        request: &ArmRequest,
        answer: String,
        now: Timestamp,
    ) -> Self {
        Self {
            verb: request.verb().to_owned(),
            account: Some(request.account.as_str().to_owned()),
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            ..Self::about(&Filter::default(), answer, now)
        }
    }

    fn about(filter: &Filter, answer: String, now: Timestamp) -> Self {
        Self {
            account: filter.account.as_ref().map(|name| name.as_str().to_owned()),
            tenant_id: joined(&filter.tenants, ToString::to_string),
            teardown_id: joined(&filter.ids, ToString::to_string),
            batch: filter.batch.clone(),
            state: joined(&filter.states, |state| state.as_str().to_owned()),
            created_at: now,
            answered_at: Some(now),
            answer: Some(answer),
            ..Self::default()
        }
    }

    /// The record of a request that was applied at once.
    pub(in crate::store) fn of(request: &OperatorRequest, answer: String, now: Timestamp) -> Self {
        Self {
            verb: request.verb.as_str().to_owned(),
            domain: joined(&request.domains, ToString::to_string),
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            until: request.until.map(time_text),
            try_anyway: request.try_anyway,
            priority: request.priority,
            not_before: request.not_before.map(time_text),
            ..Self::about(&request.filter, answer, now)
        }
    }
}

/// Puts the entries of each table, which stand in time order, into one time order.
pub(in crate::store) fn merged(mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    // Stable: of one instant a request stands before what it caused, and a move before its commands.
    entries.sort_by_key(AuditEntry::at);
    entries
}
