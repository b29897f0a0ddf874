//! The gates that keep whole accounts waiting, and that need no reading of the API to be judged.
//!
//! A row that meets one of them is parked with its reason. Nothing is read for the row while the gate is
//! closed, and whoever opens the gate need not know who waits behind it: the scheduler asks at every
//! look how many of them may go on.

use jiff::Timestamp;

use super::pace;
use super::{SafetyPolicy, after};
use crate::core::account::{Account, Proven};
use crate::core::reason::Reason;
use crate::core::window::next_opening;

/// The reasons with which rows wait behind such a gate.
pub const GATES_OF_ACCOUNTS: [Reason; 12] = [
    Reason::Halted,
    Reason::Paused,
    Reason::CredentialRefused,
    Reason::AccessRefused,
    Reason::AccountUnreachable,
    Reason::CustomersUnreadable,
    Reason::Grace,
    Reason::Window,
    Reason::DryRun,
    Reason::CapHour,
    Reason::CapDay,
    Reason::Canary,
];

/// The steps whose proof every account comes to; one of a reservation may never be needed.
const EVERY_STEP: Proven = Proven { write: true, reservation: false, delete: true };

/// The facts by which the gates of an account are judged.
#[derive(Debug)]
pub struct StoredGates<'a> {
    /// The row of the account.
    pub account: &'a Account,
    /// The row of "every account".
    pub every: &'a Account,
    /// The policy in force.
    pub policy: &'a SafetyPolicy,
    /// As [`StoredFacts::deletions`](super::StoredFacts::deletions); asked for by the caps alone.
    pub deletions: &'a [Timestamp],
    /// Since when the oldest of the rows behind the gate has been queued; asked for by the grace alone.
    pub oldest: Timestamp,
    /// Database time.
    pub now: Timestamp,
    /// The corrected wall clock.
    pub wall: Timestamp,
}

impl StoredGates<'_> {
    /// How many of the rows that wait for one of [`GATES_OF_ACCOUNTS`] may go on. An outage lets them go
    /// when it is over, or when it is time for the next probe.
    pub fn room(&self, gate: Reason) -> usize {
        let Self { account, every, policy, now, wall, .. } = self;
        let is_open = match gate {
            Reason::Halted => account.halted.is_none() && every.halted.is_none(),
            Reason::Paused => !account.is_paused(*now) && !every.is_paused(*now),
            _ if gate.is_outage() => {
                account.trouble.as_ref().is_none_or(|trouble| trouble.next_probe_at <= *now)
            }
            Reason::Grace => after(self.oldest, policy.grace) <= *now,
            Reason::Window => {
                next_opening(&policy.windows, *wall).is_some_and(|opens| opens <= *wall)
            }
            Reason::DryRun => !policy.dry_run,
            Reason::CapHour => return pace::room_in_hour(self.deletions, policy, *now),
            Reason::CapDay => return pace::room_in_day(self.deletions, policy, *now),
            // As long as a step is unproven the next one to go is alone too: the others would only read
            // in vain.
            Reason::Canary if account.canary.is_none() && !account.proven.covers(EVERY_STEP) => {
                return 1;
            }
            Reason::Canary => account.canary.is_none(),
            _ => false,
        };
        if is_open { usize::MAX } else { 0 }
    }
}
