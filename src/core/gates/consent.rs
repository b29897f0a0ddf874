//! What people must have said yes to: the account, the teardown, and the size of what is queued.

use super::{Question, Verdict, hold};
use crate::core::approval::{self, Item};
use crate::core::reason::Reason;

/// The account was armed, and as it is configured now.
pub(super) fn arming(q: &Question<'_>) -> Verdict {
    if !q.policy.require_arming {
        return Verdict::Allow;
    }
    let account = &q.facts.account;
    match account.unarmed(&q.policy.identity()) {
        Some(why) => hold(Reason::Arming, format!("account {} {why}", account.name)),
        None => Verdict::Allow,
    }
}

pub(super) fn approval(q: &Question<'_>) -> Verdict {
    if !q.policy.require_approval {
        return Verdict::Allow;
    }
    match q.facts.teardown.counting_approval(q.policy.approve_by_other) {
        Ok(_) => Verdict::Allow,
        Err(why) => hold(Reason::Approval, why),
    }
}

/// An approval is for what was there when it was given. What appears later was approved by nobody,
/// also where no approval is required: somebody looked at a list and this is not on it.
pub(super) fn plan_drift(q: &Question<'_>) -> Verdict {
    let Ok(approval) = q.facts.teardown.counting_approval(q.policy.approve_by_other) else {
        return Verdict::Allow;
    };
    let Some(read) = q.inventory() else { return Verdict::Stale };
    let now = approval::inventory(&read.purchases);
    let missing = approval.missing(&now);
    if missing.is_empty() {
        return Verdict::Allow;
    }
    let approved = |item: &Item| approval.inventory.iter().find(|known| known.key == item.key);
    let difference: Vec<String> = missing
        .into_iter()
        .map(|item| match approved(item) {
            Some(known) => format!("{item}, approved as {} by {}", known.kind, known.route),
            None => item.to_string(),
        })
        .collect();
    let text = format!("not in what {} approved: {}", approval.actor, difference.join("; "));
    hold(Reason::PlanDrift, text)
}

/// More of the account than `safety.hold_batch_over` is queued at once and approved by nobody. What
/// has begun counts too, so that a batch cannot be passed by in small helpings.
pub(super) fn large_batch(q: &Question<'_>) -> Verdict {
    let share = q.policy.hold_batch_over;
    let approved = q.facts.teardown.counting_approval(q.policy.approve_by_other).is_ok();
    if share.is_zero() || approved {
        return Verdict::Allow;
    }
    let Some(census) = &q.seen.census else { return Verdict::Stale };
    let (queued, customers) = (q.facts.unapproved, census.fact.customers);
    if !share.is_exceeded_by(queued, customers) {
        return Verdict::Allow;
    }
    let text = format!(
        "{queued} of the account's {customers} customers are queued without an approval, more than \
         safety.hold_batch_over = {share} of them"
    );
    hold(Reason::LargeBatch, text)
}
