//! The rules of the store, without any I/O: edges, leases, holds, deadlines' clock.
//! A step loads rows, calls these functions and saves the rows, all in one transaction.

use jiff::Timestamp;

use super::admission::Admission;
use crate::core::account::Account;
use crate::core::domain;
use crate::core::gates::Verdict;
use crate::core::hold::Hold;
use crate::core::ids::{AccountName, Fence, TeardownId};
use crate::core::machine::{self, Wake};
use crate::core::reason::Reason;
use crate::core::routes::Standing;
use crate::core::teardown::{Lease, NewTeardown, State, Teardown};
use crate::store::model::time::{elapsed, millis, millis_up};
use crate::store::{Commit, PurchasesRead, Result, StoreError};

/// The name under which the daemon itself stands in the history.
pub const DAEMON: &str = "teardownd";

/// A row of history about to be written: a move, or a hold or release when both states are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Event {
    pub(in crate::store) from: State,
    pub(in crate::store) to: State,
    pub(in crate::store) reason: Option<Reason>,
    pub(in crate::store) text: Option<String>,
    pub(in crate::store) actor: String,
}

// ---- rows -------------------------------------------------------------------------------------------

/// Refuses names of accounts that SQL and Rust would fold differently, or that mean something else.
pub(in crate::store) fn check_account(name: &AccountName) -> Result<()> {
    let name = name.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "account {name:?} is not a name: use 1 to 64 letters, digits, dots, hyphens or underscores"
    )))
}

/// Refuses rows that name a domain where an active row stands with another, or with none: the row
/// that stands would be driven without the check that was asked for.
pub(in crate::store) fn check_named_domains<'a>(
    rows: &[NewTeardown],
    active: impl Fn(&NewTeardown) -> Option<(TeardownId, Option<&'a str>)>,
) -> Result<()> {
    let object = |row: &NewTeardown| {
        let named = row.expected_domain.as_deref()?;
        let (id, stands) = active(row)?;
        if stands.is_some_and(|stands| domain::fold(stands) == domain::fold(named)) {
            return None;
        }
        let stands = stands.map_or("no domain".to_owned(), |stands| format!("the domain {stands}"));
        let text = format!(
            "teardown {id} is active with {stands}, not with {named}: abort it and enqueue again, or \
             leave the domain out"
        );
        Some((row.tenant_id, Reason::DomainMismatch, text))
    };
    let refused: Vec<_> = rows.iter().filter_map(object).collect();
    if refused.is_empty() { Ok(()) } else { Err(StoreError::OtherDomain(refused)) }
}

/// Refuses whoever does not hold the row's present lease.
pub(in crate::store) fn check_lease(row: &Teardown, fence: Fence) -> Result<()> {
    if row.lease.is_some() && row.fence == fence {
        Ok(())
    } else {
        Err(StoreError::LeaseLost(row.id))
    }
}

/// Refuses a commit that no row may take.
pub(in crate::store) fn check_commit(row: &Teardown, commit: &Commit<'_>) -> Result<()> {
    check_lease(row, commit.fence)?;
    if commit.transition.state == State::Aborted {
        return Err(StoreError::Refused(format!(
            "teardown {}: only an operator's request aborts",
            row.id
        )));
    }
    if commit.transition.state != row.state && !machine::is_edge(row.state, commit.transition.state)
    {
        return Err(StoreError::Refused(format!(
            "teardown {} cannot go from {} to {}",
            row.id,
            row.state.as_str(),
            commit.transition.state.as_str()
        )));
    }
    if commit.transition.state.is_terminal() && !commit.commands.is_empty() {
        return Err(StoreError::Refused(format!(
            "teardown {} cannot end in {} and commit commands at once",
            row.id,
            commit.transition.state.as_str()
        )));
    }
    Ok(())
}

/// Whether the clock of the account's teardowns runs.
pub(in crate::store) fn runs(account: &Account, every: &Account, now: Timestamp) -> bool {
    [account, every].into_iter().all(|row| row.halted.is_none() && !row.is_paused(now))
}

/// Starts or stops a row's clock of eligible time, on which its deadline rests.
pub(in crate::store) fn set_clock(row: &mut Teardown, account_runs: bool, now: Timestamp) {
    if row.state.is_terminal() {
        return;
    }
    let runs = account_runs && !row.holds.stand() && !row.waits_for_a_window(now);
    match row.eligible_since {
        None if runs => row.eligible_since = Some(now),
        Some(since) if !runs => {
            row.eligible_used += elapsed(since, now);
            row.eligible_since = None;
        }
        _ => {}
    }
}

/// Makes a row due at once.
pub(in crate::store) fn wake(row: &mut Teardown, now: Timestamp) {
    row.next_attempt_at = None;
    row.updated_at = now;
}

/// When a row that waits for nothing else is due, and since when: the order of claims.
pub fn due_at(row: &Teardown) -> Timestamp {
    let due = row.next_attempt_at.unwrap_or(row.updated_at);
    row.not_before.map_or(due, |not_before| due.max(not_before))
}

/// Puts a row under a lease with a new fence. A deadline's clock does not run before `not_before`, and
/// runs again once a row is worked on that had waited for a window.
pub(in crate::store) fn lease(row: &mut Teardown, lease: Lease, now: Timestamp) {
    row.fence = Fence(row.fence.0.saturating_add(1));
    row.lease = Some(lease);
    let since = row.eligible_since.unwrap_or(now);
    row.eligible_since = Some(row.not_before.map_or(since, |not_before| since.max(not_before)));
}

// ---- a commit's effect on its row -----------------------------------------------------------------

/// The reason that the failures of a commit are stored with: the guard that holds the row, else the
/// one of the step they led to.
pub(in crate::store) fn failure_reason(
    commit: &Commit<'_>,
    admission: &Admission,
) -> Option<Reason> {
    match &admission.verdict {
        Some(Verdict::Hold { guard, .. }) => Some(*guard),
        Some(Verdict::Allow | Verdict::Wait { .. } | Verdict::Stale | Verdict::Halt { .. })
        | None => commit.transition.reason,
    }
}

/// What else a commit does besides changing its row.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Step {
    /// History to write.
    pub(in crate::store) events: Vec<Event>,
    /// The account is to be halted: guard and text.
    pub(in crate::store) halt: Option<(Reason, String)>,
}

/// Changes the row as the commit and the gates say.
pub(in crate::store) fn apply(
    row: &mut Teardown,
    commit: &Commit<'_>,
    admission: &Admission,
    now: Timestamp,
) -> Step {
    let mut step = Step::default();
    if let Some(domain) = &commit.domain {
        row.domain = Some(domain.clone());
    }
    row.cross_checked = commit.cross_checked.or(row.cross_checked);
    if let Some(PurchasesRead::All(records)) = &commit.purchases {
        let unfinished = records.iter().filter(|record| record.standing != Standing::Inactive);
        row.uncancellable_at =
            unfinished.filter_map(|record| record.cancellable_until).min().map(millis);
    }
    row.updated_at = now;
    let nothing_admitted = admission.admitted.is_empty();
    if nothing_admitted && admission.verdict.as_ref().is_some_and(decided_anew) {
        return step;
    }
    advance(row, commit, now, &mut step);
    match &admission.verdict {
        Some(Verdict::Hold { guard, text }) => {
            step.events.extend(hold(row, *guard, text, guard.as_str(), now));
            park(row, None);
        }
        Some(Verdict::Halt { guard, text }) => {
            row.reason = Some(Reason::Halted);
            row.reason_text = Some(text.clone());
            set_clock(row, false, now);
            park(row, Some(now));
            step.halt = Some((*guard, text.clone()));
        }
        Some(Verdict::Wait { reason, until, text }) if nothing_admitted => {
            row.reason = Some(*reason);
            row.reason_text = Some(text.clone());
            park(row, Some(*until));
        }
        Some(Verdict::Wait { .. } | Verdict::Stale | Verdict::Allow) | None => {
            match commit.transition.wake {
                Wake::At(until) => park(row, Some(until)),
                Wake::Now | Wake::Never if row.state.is_terminal() => park(row, None),
                Wake::Now | Wake::Never => row.next_attempt_at = None,
            }
        }
    }
    if row.state.is_terminal() {
        park(row, None);
        row.finished_at = Some(now);
    }
    if row.waits_for_a_window(now) {
        set_clock(row, false, now);
    }
    step
}

/// Whether everything is decided anew under the same lease: after the facts were read again, or as soon
/// as the account's canary is back, which is mostly a moment.
const fn decided_anew(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Stale | Verdict::Wait { reason: Reason::Canary, .. })
}

/// Writes the fields that the machine decided, and the history of a move.
fn advance(row: &mut Teardown, commit: &Commit<'_>, now: Timestamp, step: &mut Step) {
    if row.state != commit.transition.state {
        step.events.push(Event {
            from: row.state,
            to: commit.transition.state,
            reason: commit.transition.reason,
            text: commit.transition.text.clone(),
            actor: DAEMON.to_owned(),
        });
        row.state = commit.transition.state;
        row.state_since = now;
    }
    row.reason = commit.transition.reason;
    row.reason_text.clone_from(&commit.transition.text);
    row.attempts = commit.transition.attempts;
    row.polls = commit.transition.polls;
    row.rounds = commit.transition.rounds;
    row.suspects.clone_from(&commit.transition.suspects);
}

/// Gives the lease back until then.
fn park(row: &mut Teardown, until: Option<Timestamp>) {
    row.lease = None;
    row.next_attempt_at = until.map(millis_up);
}

// ---- holds ----------------------------------------------------------------------------------------------

/// Holds a row, by an operator or by a guard as the code says. One of the same kind that stands already
/// stays as it is, and nothing is written.
pub(in crate::store) fn hold(
    row: &mut Teardown,
    code: Reason,
    text: &str,
    actor: &str,
    now: Timestamp,
) -> Option<Event> {
    let hold = Hold { code, text: text.to_owned(), actor: actor.to_owned(), since: now };
    if row.state.is_terminal() || !row.holds.add(hold) {
        return None;
    }
    row.updated_at = now;
    set_clock(row, false, now);
    Some(Event {
        from: row.state,
        to: row.state,
        reason: Some(code),
        text: Some(text.to_owned()),
        actor: actor.to_owned(),
    })
}

/// Ends every hold; the row is due at once.
pub(in crate::store) fn release(
    row: &mut Teardown,
    text: String,
    actor: &str,
    account_runs: bool,
    now: Timestamp,
) -> Option<Event> {
    row.holds.end().first()?;
    wake(row, now);
    set_clock(row, account_runs, now);
    Some(unheld(row, text, actor))
}

/// Ends a guard's hold under one of these codes. Without an operator's beside it the row is due at once.
pub(in crate::store) fn let_go(
    row: &mut Teardown,
    guards: &[Reason],
    account_runs: bool,
    now: Timestamp,
) -> bool {
    let ended = row.holds.end_guard(guards).is_some();
    if ended {
        wake(row, now);
        set_clock(row, account_runs, now);
    }
    ended
}

/// Settles the guard's hold on a row when the configuration's accounts are known: rows of unknown
/// accounts are held, and let go once the account is known.
pub(in crate::store) fn check_known(
    row: &mut Teardown,
    known: bool,
    account_runs: bool,
    now: Timestamp,
) -> Option<Event> {
    if !known {
        let text = format!("the configuration has no account {}", row.account);
        return hold(row, Reason::UnknownAccount, &text, DAEMON, now);
    }
    let known_again = let_go(row, &[Reason::UnknownAccount], account_runs, now);
    known_again.then(|| unheld(row, format!("account {} is known again", row.account), DAEMON))
}

/// The history of a hold that has ended.
pub(in crate::store) fn unheld(row: &Teardown, text: String, actor: &str) -> Event {
    Event {
        from: row.state,
        to: row.state,
        reason: None,
        text: Some(text),
        actor: actor.to_owned(),
    }
}
