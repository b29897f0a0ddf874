//! What stops whole accounts, without any I/O: pauses, halts, throttling and outages.

use jiff::{SignedDuration, Timestamp};

use crate::core::account::{Account, Stop, Trouble, TroubleKind};
use crate::core::ids::AccountName;
use crate::store::model::time::{by_the_wall, millis_up};
use crate::store::{AccountVerb, OperatorRequest, RequestEffect};

/// When rows of an account may next be claimed, as far as the account goes: a time that has passed
/// means now, `None` means not before a person acts.
pub(in crate::store) fn opens_at(account: &Account, every: &Account) -> Option<Timestamp> {
    let mut opens = Timestamp::MIN;
    for row in [account, every] {
        if row.halted.is_some() {
            return None;
        }
        if let Some(pause) = &row.paused {
            opens = opens.max(pause.until?);
        }
    }
    let throttled = account.throttled_until.unwrap_or(Timestamp::MIN);
    let probe = account.trouble.as_ref().map_or(Timestamp::MIN, |trouble| trouble.next_probe_at);
    Some(opens.max(throttled).max(probe))
}

/// The same, told until when the last of the account's leases lasts: while an outage is being probed,
/// nothing more is claimed.
pub(in crate::store) fn next_opens_at(
    account: &Account,
    every: &Account,
    leased_until: Option<Timestamp>,
) -> Option<Timestamp> {
    let opens = opens_at(account, every)?;
    Some(leased_until.filter(|_| account.trouble.is_some()).map_or(opens, |end| opens.max(end)))
}

/// How many rows of an account may be claimed now. An account in trouble is probed by one row at a
/// time; `leased` says how many are out.
pub(in crate::store) fn allowance(
    account: &Account,
    every: &Account,
    leased: usize,
    wanted: usize,
    now: Timestamp,
) -> usize {
    if opens_at(account, every).is_none_or(|opens| now < opens) {
        return 0;
    }
    match account.trouble {
        Some(_) if leased > 0 => 0,
        Some(_) => wanted.min(1),
        None => wanted,
    }
}

/// Ends a pause whose time has come. Returns whether it did.
pub(in crate::store) fn expire_pause(account: &mut Account, now: Timestamp) -> bool {
    let expired = account.paused.is_some() && !account.is_paused(now);
    if expired {
        account.paused = None;
    }
    expired
}

/// Halts an account; a second halt keeps the first one's reason. Returns whether it was changed.
pub(in crate::store) fn halt(
    account: &mut Account,
    guard: &str,
    text: &str,
    now: Timestamp,
) -> bool {
    if account.halted.is_some() {
        return false;
    }
    account.halted =
        Some(Stop { reason: text.to_owned(), actor: guard.to_owned(), since: now, until: None });
    true
}

/// Stores an outage; `since` of a running one of the same kind is kept.
pub(in crate::store) fn set_trouble(
    account: &mut Account,
    kind: TroubleKind,
    text: &str,
    next_probe_at: Timestamp,
    now: Timestamp,
) {
    let since = account.trouble.as_ref().filter(|t| t.kind == kind).map_or(now, |t| t.since);
    account.trouble = Some(Trouble {
        kind,
        text: text.to_owned(),
        since,
        next_probe_at: millis_up(next_probe_at),
    });
}

/// Makes the next probe of an outage due. Returns whether there is one.
pub(in crate::store) fn probe_now(account: &mut Account, now: Timestamp) -> bool {
    let Some(trouble) = account.trouble.as_mut() else { return false };
    trouble.next_probe_at = trouble.next_probe_at.min(now);
    true
}

/// Closes an account; a later end that is stored stays, and so does the beginning of a closure that
/// still lasts.
pub(in crate::store) fn throttle(account: &mut Account, until: Timestamp, now: Timestamp) {
    if account.closed_until(now).is_none() {
        account.throttled_since = Some(now);
    }
    let until = millis_up(until);
    account.throttled_until = Some(account.throttled_until.map_or(until, |old| old.max(until)));
}

/// The row that a pause or a resume changes: without an account, the one of everything.
pub(in crate::store) fn scope(request: &OperatorRequest) -> AccountName {
    request.filter.account.clone().unwrap_or_else(AccountName::every)
}

/// Applies a request about accounts to the row of one. Times are told by the wall clock, which is
/// `ahead` of database time.
pub(in crate::store) fn act(
    account: &mut Account,
    verb: AccountVerb,
    request: &OperatorRequest,
    ahead: SignedDuration,
    now: Timestamp,
) -> RequestEffect {
    let result = match verb {
        AccountVerb::Pause => pause(account, request, ahead, now),
        AccountVerb::Resume => {
            account.paused.take().map(|_| "resumed".to_owned()).ok_or("it is not paused".to_owned())
        }
        AccountVerb::Unhalt => account
            .halted
            .take()
            .map(|stop| format!("the halt by {} is lifted: {}", stop.actor, stop.reason))
            .ok_or("it is not halted".to_owned()),
    };
    let applied = result.is_ok();
    let text = result.unwrap_or_else(|refused| refused);
    let every = account.name == AccountName::every();
    RequestEffect {
        id: None,
        account: (!every).then(|| account.name.clone()),
        tenant_id: None,
        applied,
        text,
        ..RequestEffect::default()
    }
}

fn pause(
    account: &mut Account,
    request: &OperatorRequest,
    ahead: SignedDuration,
    now: Timestamp,
) -> Result<String, String> {
    let until = request.until.map(millis_up);
    if let Some(until) = until.filter(|until| *until <= now) {
        let until = by_the_wall(until, ahead);
        return Err(format!("{until} has passed: give a later time for the end of the pause"));
    }
    let standing = account.paused.as_ref().filter(|_| account.is_paused(now));
    if let Some(standing) = standing.filter(|stop| ends_earlier(until, stop.until)) {
        return Err(format!(
            "it is {}, and would then be paused for less time: resume it first, or name a later end",
            told(standing, ahead)
        ));
    }
    let was = standing.map(|stop| format!("; it was {}", told(stop, ahead))).unwrap_or_default();
    account.paused = Some(Stop {
        reason: request.reason.clone().unwrap_or_else(|| "no reason given".to_owned()),
        actor: request.actor.clone(),
        since: standing.map_or(now, |stop| stop.since),
        until,
    });
    Ok(match until {
        Some(until) => format!("paused until {}{was}", by_the_wall(until, ahead)),
        None => format!("paused until somebody resumes it{was}"),
    })
}

/// Whether a pause until `wanted` would end before one until `stands`; without a time it does not end by
/// itself.
fn ends_earlier(wanted: Option<Timestamp>, stands: Option<Timestamp>) -> bool {
    wanted.is_some_and(|wanted| stands.is_none_or(|stands| wanted < stands))
}

fn told(pause: &Stop, ahead: SignedDuration) -> String {
    let told = |until| by_the_wall(until, ahead).to_string();
    let end = pause.until.map_or("somebody resumes it".to_owned(), told);
    format!("paused by {} until {end}: {}", pause.actor, pause.reason)
}
