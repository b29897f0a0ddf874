//! When a write may go out, and how many at once.

use std::time::Duration;

use jiff::Timestamp;

use super::{GATE_NET, Question, SafetyPolicy, Verdict, after, wait};
use crate::core::reason::Reason;
use crate::core::window::next_opening;

/// An unsettled command of the tenant itself is sent again first, so this is rare and short.
const BUSY_AGAIN: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn grace(q: &Question<'_>) -> Verdict {
    let opens = after(q.facts.teardown.created_at, q.policy.grace);
    if opens <= q.now {
        return Verdict::Allow;
    }
    wait(Reason::Grace, opens, "safety.grace since the enqueue has not passed")
}

pub(super) fn window(q: &Question<'_>) -> Verdict {
    let wall = q.now.checked_add(q.facts.ahead).unwrap_or(q.now);
    match next_opening(&q.policy.windows, wall) {
        Some(opens) if opens <= wall => Verdict::Allow,
        opens => {
            let left = opens.and_then(|opens| Duration::try_from(opens.duration_since(wall)).ok());
            let opens = after(q.now, left.unwrap_or(DAY));
            let windows: Vec<_> = q.policy.windows.iter().map(ToString::to_string).collect();
            wait(Reason::Window, opens, format!("outside of {}", windows.join(", ")))
        }
    }
}

pub(super) fn dry_run(q: &Question<'_>) -> Verdict {
    if !q.policy.dry_run {
        return Verdict::Allow;
    }
    let path = q.intent.request(q.facts.teardown.tenant_id).map(|request| request.path);
    let text = format!("safety.dry_run: {} was not sent", path.unwrap_or_default());
    wait(Reason::DryRun, after(q.now, GATE_NET), text)
}

pub(super) fn resource_busy(q: &Question<'_>) -> Verdict {
    if !q.facts.resource_busy {
        return Verdict::Allow;
    }
    let text = "another command on the same resource is unsettled";
    wait(Reason::ResourceBusy, after(q.now, BUSY_AGAIN), text)
}

pub(super) fn cap_hour(q: &Question<'_>) -> Verdict {
    cap(q, Reason::CapHour, HOUR, q.policy.max_deletions_per_hour)
}

pub(super) fn cap_day(q: &Question<'_>) -> Verdict {
    cap(q, Reason::CapDay, DAY, q.policy.max_deletions_per_day)
}

/// How many more deletions the cap of an hour allows.
pub(super) fn room_in_hour(
    deletions: &[Timestamp],
    policy: &SafetyPolicy,
    now: Timestamp,
) -> usize {
    policy.max_deletions_per_hour.saturating_sub(within(deletions, now, HOUR).count())
}

/// How many more deletions the cap of a day allows.
pub(super) fn room_in_day(deletions: &[Timestamp], policy: &SafetyPolicy, now: Timestamp) -> usize {
    policy.max_deletions_per_day.saturating_sub(within(deletions, now, DAY).count())
}

fn within(
    deletions: &[Timestamp],
    now: Timestamp,
    length: Duration,
) -> impl Iterator<Item = &Timestamp> {
    deletions.iter().filter(move |at| !too_old(**at, now, length))
}

/// A cap on deletions. A full one means waiting.
fn cap(q: &Question<'_>, reason: Reason, length: Duration, cap: usize) -> Verdict {
    if !q.deletes() {
        return Verdict::Allow;
    }
    let within: Vec<_> = within(&q.facts.deletions, q.now, length).collect();
    if within.len() < cap {
        return Verdict::Allow;
    }
    // The cap opens when enough of the oldest have aged out.
    let oldest = within.len().checked_sub(cap).and_then(|index| within.get(index));
    let opens = oldest.map_or(after(q.now, length), |oldest| after(**oldest, length));
    wait(
        reason,
        opens.max(after(q.now, Duration::from_secs(1))),
        format!("{} deletions in the window, cap {cap}", within.len()),
    )
}

/// The canary: the account's first step of each kind goes out alone until one was accepted. Nothing of
/// the account starts beside it, and it starts beside nothing that is under way.
pub(super) fn canary(q: &Question<'_>) -> Verdict {
    let text = match q.facts.account.canary {
        Some(canary) if q.facts.command != Some(canary.command) => format!(
            "the first step of its kind in this account goes out alone: command {} of tenant {}",
            canary.command, canary.tenant_id
        ),
        _ if q.facts.calls > 0 && q.facts.is_a_first(q.intent) => format!(
            "the first step of its kind in this account goes out alone: {} other calls are under way",
            q.facts.calls
        ),
        _ => return Verdict::Allow,
    };
    wait(Reason::Canary, after(q.now, GATE_NET), text)
}

fn too_old(at: Timestamp, now: Timestamp, limit: Duration) -> bool {
    now.duration_since(at) > jiff::SignedDuration::try_from(limit).unwrap_or_default()
}
