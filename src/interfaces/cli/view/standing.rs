//! How a teardown stands, given its row and what stops its account.

use jiff::Timestamp;

use crate::core::account::{Account, Condition};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::{Status, Teardown};

/// The stored accounts, `*` among them if there is one.
#[derive(Debug, Default)]
pub(crate) struct Stops(pub(crate) Vec<Account>);

impl Stops {
    /// The row of an account.
    pub(crate) fn of(&self, name: &AccountName) -> Option<&Account> {
        self.0.iter().find(|account| account.name == *name)
    }

    /// What holds of an account now, what stops everything included.
    pub(crate) fn condition(&self, name: &AccountName, now: Timestamp) -> Condition {
        let stored =
            |name: AccountName| self.of(&name).cloned().unwrap_or_else(|| Account::fresh(name));
        stored(name.clone()).condition_under(&stored(AccountName::every()), now)
    }

    /// Whether a safety stop keeps this account from writing.
    pub(crate) fn halted(&self, name: &AccountName) -> bool {
        [self.of(&AccountName::every()), self.of(name)]
            .into_iter()
            .flatten()
            .any(|account| account.halted.is_some())
    }

    /// What stops every tenant of an account now: the first closed gate.
    pub(crate) fn blocking(&self, name: &AccountName, now: Timestamp) -> Option<Reason> {
        self.condition(name, now).blocks()
    }
}

/// How one teardown stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// At a glance.
    pub(crate) status: Status,
    /// The code of what it waits for, is held by or failed for.
    pub(crate) blocked_by: Option<Reason>,
}

impl Standing {
    /// Judges a row. A row that is due does not move while its account is stopped.
    pub(crate) fn of(row: &Teardown, stops: &Stops, now: Timestamp) -> Self {
        let stopped = stops.blocking(&row.account, now).filter(|_| row.lease.is_none());
        let (status, blocked_by) = match row.status(now) {
            Status::Moving if stopped.is_some() => (Status::Waiting, stopped),
            Status::Moving => (Status::Moving, None),
            Status::Waiting => (Status::Waiting, stopped.or_else(|| waits_for(row, now))),
            Status::Held => (Status::Held, row.holds.first().map(|hold| hold.code)),
            Status::Failed => (Status::Failed, row.reason),
            Status::Done => (Status::Done, None),
        };
        Self { status, blocked_by }
    }
}

fn waits_for(row: &Teardown, now: Timestamp) -> Option<Reason> {
    // Of two times the later one is waited for.
    let early = row.not_before.is_some_and(|at| now < at && row.next_attempt_at <= Some(at));
    if early { Some(Reason::NotBefore) } else { row.reason }
}
