//! What is stored of an account: the things that stop or slow every one of its tenants.

use jiff::Timestamp;
use serde::Serialize;

use super::ids::AccountName;

/// A stored stop of an account: who or what set it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// Why, in words.
    pub reason: String,
    /// Who asked for it, or the guard that did.
    pub actor: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself, if ever.
    pub until: Option<Timestamp>,
}

/// Kinds of outage that are the account's and not a tenant's (invariant 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// Transport, DNS or 5xx across tenants.
    Unreachable,
    /// The token endpoint or the API refuses the credential.
    CredentialRefused,
}

impl TroubleKind {
    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::CredentialRefused => "credential_refused",
        }
    }

    /// The kind of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Unreachable, Self::CredentialRefused].into_iter().find(|k| k.as_str() == name)
    }
}

/// An outage of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Which kind.
    pub kind: TroubleKind,
    /// What was seen, in words, redacted.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// When one tenant tries again. Until then no row of the account is claimed.
    pub next_probe_at: Timestamp,
}

/// Which first steps of the account have been accepted (invariant 2). Until one is, it goes out
/// alone, account-wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Proven {
    /// A first write of any kind was accepted.
    pub write: bool,
    /// A first cancellation of a reservation was accepted: only a sandbox allows that.
    pub reservation: bool,
    /// A first DELETE of a customer was accepted.
    pub delete: bool,
}

/// The stored row of an account. The row named `*` carries a pause of everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Paused by a person.
    pub paused: Option<Stop>,
    /// Halted by a safety stop; only a person lifts it.
    pub halted: Option<Stop>,
    /// Closed by a 429 until then.
    pub throttled_until: Option<Timestamp>,
    /// An outage, if there is one.
    pub trouble: Option<Trouble>,
    /// Which first steps were accepted.
    pub proven: Proven,
    /// The highest time ever stored for the account. Caps never count with an earlier one.
    pub clock_high: Option<Timestamp>,
}

impl Account {
    /// An account of which nothing is stored yet.
    pub fn fresh(name: AccountName) -> Self {
        Self {
            name,
            paused: None,
            halted: None,
            throttled_until: None,
            trouble: None,
            proven: Proven::default(),
            clock_high: None,
        }
    }

    /// Whether a pause is in force at `now`.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.paused.as_ref().is_some_and(|stop| stop.until.is_none_or(|until| now < until))
    }
}
