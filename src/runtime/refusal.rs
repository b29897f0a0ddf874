//! The refusals of gates, counted and told.

use crate::core::gates::Verdict;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;

/// Counts and logs what is not allowed. A command that was typed in is an error: somebody wrote where only
/// `teardownd` writes.
pub(super) fn note(account: &AccountName, verdict: &Verdict) {
    match verdict {
        Verdict::Allow | Verdict::Stale => {}
        Verdict::Wait { reason, until, text } => {
            tracing::debug!(gate = reason.as_str(), %until, text, "a gate says wait");
        }
        Verdict::Hold { guard: guard @ Reason::ForgedCommand, text } => {
            count(account, *guard);
            tracing::error!(guard = guard.as_str(), text, "a forged command was not sent");
        }
        Verdict::Hold { guard, text } => {
            count(account, *guard);
            tracing::warn!(guard = guard.as_str(), text, "a guard holds the teardown");
        }
        Verdict::Halt { guard, text } => {
            count(account, *guard);
            tracing::error!(guard = guard.as_str(), text, "a guard halts the account");
        }
    }
}

fn count(account: &AccountName, guard: Reason) {
    metrics::counter!(
        "teardownd_guard_refusals_total",
        "account" => account.to_string(),
        "guard" => guard.as_str()
    )
    .increment(1);
}
