//! The gates that keep whole accounts waiting, and that need no reading of the API to be judged.
//!
//! A row that meets one of them is parked with its reason. Nothing is read for the row while the gate is
//! closed, and whoever opens the gate need not know who waits behind it: the scheduler asks at every
//! look which of them are open.

use jiff::Timestamp;

use super::SafetyPolicy;
use crate::core::account::Account;
use crate::core::reason::Reason;
use crate::core::window::next_opening;

/// The reasons with which rows wait behind such a gate.
pub const GATES_OF_ACCOUNTS: [Reason; 9] = [
    Reason::Halted,
    Reason::Paused,
    Reason::CredentialRefused,
    Reason::AccessRefused,
    Reason::AccountUnreachable,
    Reason::CustomersUnreadable,
    Reason::Window,
    Reason::DryRun,
    Reason::Canary,
];

/// Whether the rows of an account that wait for one of [`GATES_OF_ACCOUNTS`] may go on. An outage lets
/// them go when it is over, or when it is time for the next probe.
pub fn is_open(
    gate: Reason,
    account: &Account,
    every: &Account,
    policy: &SafetyPolicy,
    now: Timestamp,
    wall: Timestamp,
) -> bool {
    match gate {
        Reason::Halted => account.halted.is_none() && every.halted.is_none(),
        Reason::Paused => !account.is_paused(now) && !every.is_paused(now),
        _ if gate.is_outage() => {
            account.trouble.as_ref().is_none_or(|trouble| trouble.next_probe_at <= now)
        }
        Reason::Window => next_opening(&policy.windows, wall).is_some_and(|opens| opens <= wall),
        Reason::DryRun => !policy.dry_run,
        Reason::Canary => account.canary.is_none(),
        _ => false,
    }
}
