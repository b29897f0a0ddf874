//! One look at everything that is stored, by sets: what the gauges of the daemon are read from.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::budget::Resource;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status};

/// So many moves are told at once; the rest with the next look.
pub(in crate::store) const MOVES_AT_ONCE: usize = 5_000;

/// What a [`Survey`] is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurveyRequest {
    /// Longer than this in one state counts as stuck.
    pub stuck_after: Duration,
    /// Length of the window of the request budget.
    pub budget_window: Duration,
    /// Changes of state after the one with this number; `None` for none at all.
    pub moves_after: Option<i64>,
}

/// How things stand, over all teardowns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Teardowns, counted by how they stand.
    pub tallies: Vec<Tally>,
    /// What is known of each account that has rows.
    pub accounts: BTreeMap<AccountName, AccountSurvey>,
    /// The changes of state that were asked for, oldest first, whoever made them.
    pub moves: Vec<Move>,
    /// The number to ask for the following moves with.
    pub last_move: i64,
}

/// Teardowns that stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Their account.
    pub account: AccountName,
    /// Their state.
    pub state: State,
    /// Their status, as [`Teardown::status`](crate::core::teardown::Teardown::status) tells it.
    pub status: Status,
    /// What they wait for, are held by or failed for.
    pub reason: Option<Reason>,
    /// Whether a process works on them.
    pub leased: bool,
    /// Whether they have stood in one state for too long.
    pub stuck: bool,
    /// Whether a person has taken note of them.
    pub acknowledged: bool,
    /// Whether there is a newer teardown of the same tenant. Told of failed ones only.
    pub superseded: bool,
    /// How many.
    pub teardowns: u64,
    /// Since when the first of them is due, where they are due and nobody works on them.
    pub due_since: Option<Timestamp>,
}

/// What is counted for a whole account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountSurvey {
    /// How many customers it has, as last listed.
    pub customers: Option<u64>,
    /// Commands of tenants with an active teardown whose outcome is not known.
    pub unsettled: u64,
    /// When the oldest of them was committed, those of acknowledged teardowns aside.
    pub unsettled_since: Option<Timestamp>,
    /// When the first purchase of an active teardown becomes impossible to cancel, as far as known, those
    /// of acknowledged teardowns aside.
    pub uncancellable_at: Option<Timestamp>,
    /// When each deletion of the last day was committed, as the caps count them.
    pub deletions: Vec<Timestamp>,
    /// Tenants that a guard kept out of the queue, as long as the history is kept.
    pub refused: BTreeMap<Reason, u64>,
    /// Requests that the window of the budget holds.
    pub requests: BTreeMap<Resource, u64>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The account.
    pub account: AccountName,
    /// State before; `None` for a new teardown.
    pub from: Option<State>,
    /// State after.
    pub to: State,
    /// How long it stood in the state before.
    pub in_state: Option<Duration>,
    /// How long ago it was queued, at first or for a retry.
    pub in_run: Option<Duration>,
}
