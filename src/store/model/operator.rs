//! What operators ask for, and what became of it.

use jiff::Timestamp;
use serde::Serialize;

use super::Filter;
use crate::core::domain::DomainPattern;
use crate::core::ids::{AccountName, TeardownId, TenantId};
use crate::core::protection::Subject;

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
    /// Acknowledge that these are stuck, held or failed: they ring no more until that changes.
    Ack,
    /// Set priority or earliest time of these teardowns.
    Set,
    /// Set a lasting deny entry for tenants or domains, and abort their teardowns.
    Protect,
    /// Remove such an entry.
    Unprotect,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 11] = [
        Self::Pause,
        Self::Resume,
        Self::Hold,
        Self::Release,
        Self::Abort,
        Self::Retry,
        Self::Unhalt,
        Self::Ack,
        Self::Set,
        Self::Protect,
        Self::Unprotect,
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
            Self::Ack => "ack",
            Self::Set => "set",
            Self::Protect => "protect",
            Self::Unprotect => "unprotect",
        }
    }

    /// The verb by what it is about.
    pub const fn about(self) -> About {
        match self {
            Self::Pause => About::Account(AccountVerb::Pause),
            Self::Resume => About::Account(AccountVerb::Resume),
            Self::Unhalt => About::Account(AccountVerb::Unhalt),
            Self::Hold => About::Teardown(TeardownVerb::Hold),
            Self::Release => About::Teardown(TeardownVerb::Release),
            Self::Abort => About::Teardown(TeardownVerb::Abort),
            Self::Retry => About::Teardown(TeardownVerb::Retry),
            Self::Ack => About::Teardown(TeardownVerb::Ack),
            Self::Set => About::Teardown(TeardownVerb::Set),
            Self::Protect => About::Protection(ProtectionVerb::Protect),
            Self::Unprotect => About::Protection(ProtectionVerb::Unprotect),
        }
    }

    /// The verb of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

/// The verbs by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// An account, or everything.
    Account(AccountVerb),
    /// Teardowns.
    Teardown(TeardownVerb),
    /// Deny entries of tenants and domains.
    Protection(ProtectionVerb),
}

/// A verb about accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountVerb {
    /// [`Verb::Pause`].
    Pause,
    /// [`Verb::Resume`].
    Resume,
    /// [`Verb::Unhalt`].
    Unhalt,
}

/// A verb about teardowns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeardownVerb {
    /// [`Verb::Hold`].
    Hold,
    /// [`Verb::Release`].
    Release,
    /// [`Verb::Abort`].
    Abort,
    /// [`Verb::Retry`].
    Retry,
    /// [`Verb::Ack`].
    Ack,
    /// [`Verb::Set`].
    Set,
}

/// A verb about deny entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectionVerb {
    /// [`Verb::Protect`].
    Protect,
    /// [`Verb::Unprotect`].
    Unprotect,
}

/// A request of an operator: stored, applied and answered in one transaction. A row typed into
/// `operator_requests` by SQL is the same thing, applied at the daemon's next tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRequest {
    /// What.
    pub verb: Verb,
    /// On what. For pause, resume and unhalt only the account counts, for protect and unprotect also
    /// the tenants; an account of `None` is everything.
    pub filter: Filter,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// Until when, for a pause.
    pub until: Option<Timestamp>,
    /// For a retry: send what is held to be impossible, to find out.
    pub try_anyway: bool,
    /// For protect and unprotect: domains, besides the tenants of the filter.
    pub domains: Vec<DomainPattern>,
    /// For set: the new priority.
    pub priority: Option<i64>,
    /// For set: the new earliest time.
    pub not_before: Option<Timestamp>,
}

impl OperatorRequest {
    /// A request without reason and without anything that is for certain verbs only.
    pub fn new(verb: Verb, filter: Filter, actor: impl Into<String>) -> Self {
        Self {
            verb,
            filter,
            actor: actor.into(),
            reason: None,
            until: None,
            try_anyway: false,
            domains: Vec::new(),
            priority: None,
            not_before: None,
        }
    }

    /// What a protect or unprotect is about.
    pub(in crate::store) fn subjects(&self) -> impl Iterator<Item = Subject> + '_ {
        let tenants = self.filter.tenants.iter().copied().map(Subject::Tenant);
        tenants.chain(self.domains.iter().cloned().map(Subject::Domain))
    }
}

/// An acknowledgement in force: the teardown stands as it stood when it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// The teardown.
    pub id: TeardownId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// What became of one teardown, or of the account, in an operator's request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RequestEffect {
    /// The teardown; `None` for an account.
    pub id: Option<TeardownId>,
    /// The account; `None` for everything.
    pub account: Option<AccountName>,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// Whether it was changed.
    pub applied: bool,
    /// The change in words, or why there was none.
    pub text: String,
    /// For an abort: the writes that it does not take back.
    pub writes: Option<Writes>,
}

/// Writes of a tenant that went out, each as action and resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Writes that Partner Center has accepted, or whose goal was seen.
    pub accepted: Vec<String>,
    /// Writes that were sent and not answered, so that each may have been carried out.
    pub unanswered: Vec<String>,
}

/// Several values as one text, as they are typed; `None` for no values.
pub(in crate::store) fn joined<T>(values: &[T], text: impl Fn(&T) -> String) -> Option<String> {
    (!values.is_empty()).then(|| values.iter().map(text).collect::<Vec<_>>().join(","))
}
