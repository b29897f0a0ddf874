//! What is stored of an account: the things that stop or slow every one of its tenants.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::command::{Action, Intent};
use super::ids::{AccountName, CommandId, TenantId};
use super::reason::Reason;

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
    /// The partner itself is refused: a role, conditional access, a programme or an agreement.
    AccessRefused,
    /// The account's customer list is answered, and cannot be read whole.
    CustomersUnreadable,
}

impl TroubleKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Unreachable,
        Self::CredentialRefused,
        Self::AccessRefused,
        Self::CustomersUnreadable,
    ];

    /// The stable name used in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::CredentialRefused => "credential_refused",
            Self::AccessRefused => "access_refused",
            Self::CustomersUnreadable => "customers_unreadable",
        }
    }

    /// The reason of the teardowns that wait for its end.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unreachable => Reason::AccountUnreachable,
            Self::CredentialRefused => Reason::CredentialRefused,
            Self::AccessRefused => Reason::AccessRefused,
            Self::CustomersUnreadable => Reason::CustomersUnreadable,
        }
    }

    /// The kind of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What an operator is told of an account, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// A safety stop; only a person lifts it.
    Halted,
    /// A person stopped it, for good or until a time.
    Paused,
    /// The token endpoint or the API refuses the credential.
    CredentialRefused,
    /// The partner itself is refused: a role, conditional access, a programme or an agreement.
    AccessRefused,
    /// Transport, DNS or 5xx across tenants.
    Unreachable,
    /// The account's customer list is answered, and cannot be read whole.
    CustomersUnreadable,
    /// Closed by a 429 for its `Retry-After`.
    Throttled,
    /// Nothing stops it.
    Ok,
}

impl AccountState {
    /// Every state, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Halted,
        Self::Paused,
        Self::CredentialRefused,
        Self::AccessRefused,
        Self::Unreachable,
        Self::CustomersUnreadable,
        Self::Throttled,
        Self::Ok,
    ];

    /// The stable name used in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::Paused => "paused",
            Self::CredentialRefused => "credential_refused",
            Self::AccessRefused => "access_refused",
            Self::Unreachable => "unreachable",
            Self::CustomersUnreadable => "customers_unreadable",
            Self::Throttled => "throttled",
            Self::Ok => "ok",
        }
    }
}

/// The state of an account with what an operator wants to know beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which state.
    pub state: AccountState,
    /// Why, in words; `None` when it is ok.
    pub reason: Option<String>,
    /// Who stopped it, or the guard that did; `None` for what ends by itself.
    pub by: Option<String>,
    /// Since when; `None` when it is ok, or where an older version has stored no beginning.
    pub since: Option<Timestamp>,
    /// When it is looked at again or ends by itself; `None` when only a person ends it.
    pub next_check: Option<Timestamp>,
}

impl Condition {
    /// Nothing stops the account.
    pub const OK: Self =
        Self { state: AccountState::Ok, reason: None, by: None, since: None, next_check: None };

    fn of_stop(state: AccountState, stop: &Stop) -> Self {
        Self {
            state,
            reason: Some(stop.reason.clone()),
            by: Some(stop.actor.clone()),
            since: Some(stop.since),
            next_check: stop.until,
        }
    }

    fn of_trouble(trouble: &Trouble) -> Self {
        Self {
            state: match trouble.kind {
                TroubleKind::CredentialRefused => AccountState::CredentialRefused,
                TroubleKind::AccessRefused => AccountState::AccessRefused,
                TroubleKind::Unreachable => AccountState::Unreachable,
                TroubleKind::CustomersUnreadable => AccountState::CustomersUnreadable,
            },
            reason: Some(trouble.text.clone()),
            by: None,
            since: Some(trouble.since),
            next_check: Some(trouble.next_probe_at),
        }
    }

    /// Why teardowns of the account wait; `None` if it does not keep them.
    pub const fn blocks(&self) -> Option<Reason> {
        match self.state {
            AccountState::Halted => Some(Reason::Halted),
            AccountState::Paused => Some(Reason::Paused),
            AccountState::CredentialRefused => Some(Reason::CredentialRefused),
            AccountState::AccessRefused => Some(Reason::AccessRefused),
            AccountState::Unreachable => Some(Reason::AccountUnreachable),
            AccountState::CustomersUnreadable => Some(Reason::CustomersUnreadable),
            AccountState::Throttled => Some(Reason::Throttled),
            AccountState::Ok => None,
        }
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

impl Proven {
    /// The kinds of step that a command is.
    pub fn of(intent: &Intent) -> Self {
        Self {
            write: true,
            reservation: intent.reservation,
            delete: intent.action == Action::DeleteCustomer,
        }
    }

    /// Whether every kind in `kinds` was accepted before.
    pub const fn covers(self, kinds: Self) -> bool {
        (self.write || !kinds.write)
            && (self.reservation || !kinds.reservation)
            && (self.delete || !kinds.delete)
    }
}

/// The command of an account that goes out alone until it is accepted (invariant 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// The command.
    pub command: CommandId,
    /// Its tenant.
    pub tenant_id: TenantId,
}

/// Who an account is: what a person sees and confirms before it works, and what must not change after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// `accounts.NAME.partner_tenant`.
    pub partner_tenant: TenantId,
    /// `accounts.NAME.cloud`.
    pub cloud: String,
    /// `accounts.NAME.client_id`.
    pub client_id: Uuid,
}

/// A person's word that an account is the sandbox it is meant to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arming {
    /// The account as it was then.
    pub identity: Identity,
    /// Who.
    pub actor: String,
    /// When.
    pub since: Timestamp,
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
    /// Since when the latest closure by 429s lasts, or has lasted.
    pub throttled_since: Option<Timestamp>,
    /// An outage, if there is one.
    pub trouble: Option<Trouble>,
    /// Which first steps were accepted.
    pub proven: Proven,
    /// The first step that is out, if one is. Nothing else of the account goes out beside it.
    pub canary: Option<Canary>,
    /// Armed by a person.
    pub armed: Option<Arming>,
}

impl Account {
    /// An account of which nothing is stored yet.
    pub fn fresh(name: AccountName) -> Self {
        Self {
            name,
            paused: None,
            halted: None,
            throttled_until: None,
            throttled_since: None,
            trouble: None,
            proven: Proven::default(),
            canary: None,
            armed: None,
        }
    }

    /// Why the account does not count as armed, in words that follow its name; `None` if it does.
    pub fn unarmed(&self, configured: &Identity) -> Option<String> {
        let Some(Arming { identity: armed, actor, .. }) = &self.armed else {
            return Some("has not been armed".to_owned());
        };
        let (key, then, now) = if armed.partner_tenant != configured.partner_tenant {
            (
                "partner_tenant",
                armed.partner_tenant.to_string(),
                configured.partner_tenant.to_string(),
            )
        } else if armed.cloud != configured.cloud {
            ("cloud", armed.cloud.clone(), configured.cloud.clone())
        } else if armed.client_id != configured.client_id {
            ("client_id", armed.client_id.to_string(), configured.client_id.to_string())
        } else {
            return None;
        };
        Some(format!("was armed by {actor} with {key} {then}, and the configuration now has {now}"))
    }

    /// Whether a pause is in force at `now`.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.paused.as_ref().is_some_and(|stop| stop.until.is_none_or(|until| now < until))
    }

    /// Whether a 429 closes it at `now`; if so, until when.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.throttled_until.filter(|until| now < *until)
    }

    /// Everything that stops it at `now`, the gravest first; empty if nothing does.
    pub fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let halted = self.halted.as_ref().map(|stop| (AccountState::Halted, stop));
        let paused = self.paused.as_ref().filter(|_| self.is_paused(now));
        let paused = paused.map(|stop| (AccountState::Paused, stop));
        let stops = [halted, paused].into_iter().flatten();
        let throttled = self.closed_until(now).map(|until| Condition {
            state: AccountState::Throttled,
            reason: Some("Partner Center answered 429".to_owned()),
            by: None,
            since: self.throttled_since,
            next_check: Some(until),
        });
        stops
            .map(|(state, stop)| Condition::of_stop(state, stop))
            .chain(self.trouble.as_ref().map(Condition::of_trouble))
            .chain(throttled)
            .collect()
    }

    /// What holds at `now`; of several stops the gravest. A pause of everything stands in the row
    /// named `*`: see [`condition_under`](Self::condition_under).
    pub fn condition(&self, now: Timestamp) -> Condition {
        self.conditions(now).into_iter().next().unwrap_or(Condition::OK)
    }

    /// The same, with what stops every account.
    pub fn condition_under(&self, every: &Self, now: Timestamp) -> Condition {
        let (own, general) = (self.condition(now), every.condition(now));
        if general.state < own.state { general } else { own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_armed_as_it_was_confirmed_and_no_other() {
        let since: Timestamp = "2027-01-31T08:00:00Z".parse().unwrap();
        let identity = Identity {
            partner_tenant: TenantId::new(Uuid::from_u128(1)),
            cloud: "global".to_owned(),
            client_id: Uuid::from_u128(2),
        };
        let fresh = Account::fresh(AccountName::new("emea"));
        assert_eq!(fresh.unarmed(&identity).as_deref(), Some("has not been armed"));
        let armed = Arming { identity: identity.clone(), actor: "ann".to_owned(), since };
        let account = Account { armed: Some(armed), ..fresh };
        assert_eq!(account.unarmed(&identity), None);
        for (key, changed) in [
            (
                "partner_tenant",
                Identity { partner_tenant: TenantId::new(Uuid::from_u128(9)), ..identity.clone() },
            ),
            ("cloud", Identity { cloud: "china".to_owned(), ..identity.clone() }),
            ("client_id", Identity { client_id: Uuid::from_u128(9), ..identity.clone() }),
        ] {
            let why = account.unarmed(&changed).unwrap();
            assert!(why.contains(key) && why.contains("armed by ann"), "{why}");
        }
    }

    #[test]
    fn of_several_stops_the_gravest_is_told() {
        let now: Timestamp = "2027-01-31T08:00:00Z".parse().unwrap();
        let later: Timestamp = "2027-01-31T08:10:00Z".parse().unwrap();
        let mut account = Account::fresh(AccountName::new("emea"));
        let state = |account: &Account, at| account.condition(at).state;
        assert_eq!(state(&account, now), AccountState::Ok);

        account.throttled_since = Some(now);
        account.throttled_until = Some(later);
        let throttled = account.condition(now);
        assert_eq!((throttled.since, throttled.next_check), (Some(now), Some(later)));
        assert_eq!(state(&account, now), AccountState::Throttled);
        assert_eq!(state(&account, later), AccountState::Ok, "a 429 ends at its time");

        account.trouble = Some(Trouble {
            kind: TroubleKind::Unreachable,
            text: "connection refused".to_owned(),
            since: now,
            next_probe_at: later,
        });
        assert_eq!(state(&account, now), AccountState::Unreachable);

        let stop = |until| Stop {
            reason: "maintenance".to_owned(),
            actor: "ann".to_owned(),
            since: now,
            until,
        };
        account.paused = Some(stop(Some(later)));
        assert_eq!(state(&account, now), AccountState::Paused);
        assert_eq!(state(&account, later), AccountState::Unreachable, "the pause has ended");

        account.halted = Some(stop(None));
        assert_eq!(state(&account, later), AccountState::Halted);
        assert_eq!(account.condition(later).next_check, None, "only a person lifts it");
        let all: Vec<_> = account.conditions(now).into_iter().map(|told| told.state).collect();
        use AccountState::{Halted, Paused, Throttled, Unreachable};
        assert_eq!(all, [Halted, Paused, Unreachable, Throttled]);
    }

    #[test]
    fn a_pause_of_everything_is_every_accounts() {
        let now: Timestamp = "2027-01-31T08:00:00Z".parse().unwrap();
        let (mut account, mut every) =
            (Account::fresh(AccountName::new("emea")), Account::fresh(AccountName::every()));
        assert_eq!(account.condition_under(&every, now), Condition::OK);
        let stop = |reason: &str| Stop {
            reason: reason.to_owned(),
            actor: "ann".to_owned(),
            since: now,
            until: None,
        };
        every.paused = Some(stop("moving house"));
        let told = account.condition_under(&every, now);
        assert_eq!(
            (told.state, told.reason.as_deref()),
            (AccountState::Paused, Some("moving house"))
        );
        account.halted = Some(stop("too many customers"));
        assert_eq!(account.condition_under(&every, now).state, AccountState::Halted);
    }
}
