//! What people and stored stops say.

use super::{GATE_NET, Question, Verdict, after, hold as held, wait};
use crate::core::reason::Reason;

pub(super) fn halt(q: &Question<'_>) -> Verdict {
    let stop = [&q.facts.account, &q.facts.every].into_iter().find_map(|row| row.halted.as_ref());
    stop.map_or(Verdict::Allow, |stop| {
        wait(Reason::Halted, after(q.now, GATE_NET), stop.reason.clone())
    })
}

pub(super) fn pause(q: &Question<'_>) -> Verdict {
    let paused = [&q.facts.every, &q.facts.account].into_iter().find(|row| row.is_paused(q.now));
    let Some(stop) = paused.and_then(|row| row.paused.as_ref()) else { return Verdict::Allow };
    let until = stop.until.unwrap_or_else(|| after(q.now, GATE_NET));
    wait(Reason::Paused, until, format!("paused by {}: {}", stop.actor, stop.reason))
}

pub(super) fn ended(q: &Question<'_>) -> Verdict {
    if q.facts.teardown.state.is_terminal() {
        return held(Reason::Aborted, "the teardown has ended");
    }
    Verdict::Allow
}

pub(super) fn hold(q: &Question<'_>) -> Verdict {
    let hold = q.facts.teardown.holds.first();
    hold.map_or(Verdict::Allow, |hold| held(hold.code, hold.text.clone()))
}

pub(super) fn throttle(q: &Question<'_>) -> Verdict {
    match q.facts.account.throttled_until.filter(|until| q.now < *until) {
        Some(until) => wait(Reason::Throttled, until, "the account is closed by a 429"),
        None => Verdict::Allow,
    }
}
