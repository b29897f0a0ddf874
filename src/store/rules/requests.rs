//! What an operator's request does to one teardown.

use jiff::{SignedDuration, Timestamp};

use super::teardown::{self, Event};
use crate::core::command::{Action, Command, Outcome};
use crate::core::hold::{Hold, Holds};
use crate::core::ids::TeardownId;
use crate::core::protection::{self, Protection};
use crate::core::reason::Reason;
use crate::core::teardown::{State, Teardown};
use crate::store::model::time::{by_the_wall, millis_up};
use crate::store::{OperatorRequest, RequestEffect, TeardownVerb, Verb, Writes};

/// What a request must know besides the row itself.
#[derive(Debug)]
pub(in crate::store) struct Surroundings<'a> {
    /// Every command of the tenant. Only an abort looks at them.
    pub(in crate::store) commands: &'a [Command],
    /// Another active teardown of the same tenant.
    pub(in crate::store) active: Option<TeardownId>,
    /// Whether the account's teardowns are eligible now.
    pub(in crate::store) account_runs: bool,
    /// The deny entries. Only a retry looks at them.
    pub(in crate::store) protections: &'a [Protection],
    /// How far the wall clock is ahead of database time.
    pub(in crate::store) ahead: SignedDuration,
}

/// Applies a request to a row. Without an event nothing was changed.
pub(in crate::store) fn act(
    row: &mut Teardown,
    verb: TeardownVerb,
    request: &OperatorRequest,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> (RequestEffect, Option<Event>) {
    let result = match verb {
        TeardownVerb::Abort => abort(row, request, around, now),
        TeardownVerb::Hold => hold(row, request, now),
        TeardownVerb::Release => release(row, request, around, now),
        TeardownVerb::Retry => retry(row, request, around, now),
        TeardownVerb::Ack => ack(row, request),
        TeardownVerb::Set => set(row, request, around.ahead, now),
    };
    let (effect, event) = effect(row, result);
    let writes = (verb == TeardownVerb::Abort).then(|| gone_out(around.commands));
    (RequestEffect { writes, ..effect }, event)
}

/// The commands among these that went out and may have had an effect.
fn gone_out(commands: &[Command]) -> Writes {
    let named = |which: fn(&Command) -> bool| -> Vec<String> {
        let name = |c: &Command| format!("{} {}", c.intent.action.as_str(), c.intent.resource);
        commands.iter().filter(|c| which(c)).map(name).collect()
    };
    Writes {
        accepted: named(|c| matches!(c.outcome, Some(Outcome::Accepted | Outcome::GoalReached))),
        unanswered: named(|c| c.is_unsettled() && c.was_sent()),
    }
}

/// The words about them.
fn in_words(writes: &Writes) -> String {
    let told = [
        ("accepted before that", &writes.accepted),
        ("sent and not answered, and may have been carried out", &writes.unanswered),
    ];
    let told = told.into_iter().filter(|(_, writes)| !writes.is_empty());
    let told: Vec<_> =
        told.map(|(what, writes)| format!("{what}: {}", writes.join(", "))).collect();
    if told.is_empty() { "nothing had been cancelled".to_owned() } else { told.join("; ") }
}

/// Changed, with what to say about it; or not, with the reason.
pub(in crate::store) type Acted = Result<(String, Event), String>;

/// What is said of a row that was changed or not, and its history.
pub(in crate::store) fn effect(row: &Teardown, acted: Acted) -> (RequestEffect, Option<Event>) {
    let (applied, text, event) = match acted {
        Ok((text, event)) => (true, text, Some(event)),
        Err(text) => (false, text, None),
    };
    let effect = RequestEffect {
        id: Some(row.id),
        account: Some(row.account.clone()),
        tenant_id: Some(row.tenant_id),
        applied,
        text,
        ..RequestEffect::default()
    };
    (effect, event)
}

fn hold(row: &mut Teardown, request: &OperatorRequest, now: Timestamp) -> Acted {
    if row.state.is_terminal() {
        return Err(format!("it is {} already", row.state.as_str()));
    }
    if let Some(held) = row.holds.operator() {
        return Err(format!("it is held already by {}: {}", held.actor, held.text));
    }
    let text = request.reason.clone().unwrap_or_else(|| format!("held by {}", request.actor));
    let beside = row.holds.guard().map(|guard| format!(", beside the guard {}", guard.code));
    let done = format!("held{}", beside.unwrap_or_default());
    teardown::hold(row, Reason::Operator, &text, &request.actor, now)
        .map(|event| (done, event))
        .ok_or_else(|| "it cannot be held".to_owned())
}

fn release(
    row: &mut Teardown,
    request: &OperatorRequest,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Acted {
    if row.state.is_terminal() {
        return Err(format!("it is {}", row.state.as_str()));
    }
    let held: Vec<String> = row.holds.iter().map(held_by).collect();
    let text = worded("released", request);
    teardown::release(row, text, &request.actor, around.account_runs, now)
        .map(|event| (format!("released; it was held by {}", held.join(", and by ")), event))
        .ok_or_else(|| "it is not held".to_owned())
}

/// The holder and the reason.
fn held_by(hold: &Hold) -> String {
    match hold.code {
        Reason::Operator => format!("{}: {}", hold.actor, hold.text),
        guard => format!("the guard {guard}: {}", hold.text),
    }
}

fn abort(
    row: &mut Teardown,
    request: &OperatorRequest,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Acted {
    if row.state.is_terminal() {
        return Err(format!("it is {} already", row.state.as_str()));
    }
    if let Some(delete) = around.commands.iter().find(|c| may_have_deleted(c)) {
        return Err(match delete.outcome {
            None => {
                "a DELETE of the customer was sent and is not answered yet: ask again once it is"
                    .to_owned()
            }
            Some(_) => {
                "a DELETE of the customer was accepted: what follows is the proof that it is gone"
                    .to_owned()
            }
        });
    }
    let event = end_by(row, request, now);
    Ok((format!("aborted; {}", in_words(&gone_out(around.commands))), event))
}

fn may_have_deleted(command: &Command) -> bool {
    command.intent.action == Action::DeleteCustomer
        && match command.outcome {
            None => command.was_sent(),
            Some(Outcome::Accepted | Outcome::GoalReached) => true,
            Some(Outcome::Refused | Outcome::Withdrawn) => false,
        }
}

fn end_by(row: &mut Teardown, request: &OperatorRequest, now: Timestamp) -> Event {
    let event = Event {
        from: row.state,
        to: State::Aborted,
        reason: Some(Reason::Aborted),
        text: Some(worded("aborted", request)),
        actor: request.actor.clone(),
    };
    row.state = State::Aborted;
    row.state_since = now;
    row.reason = Some(Reason::Aborted);
    row.reason_text.clone_from(&event.text);
    row.holds = Holds::default();
    row.lease = None;
    row.finished_at = Some(now);
    teardown::wake(row, now);
    event
}

fn retry(
    row: &mut Teardown,
    request: &OperatorRequest,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Acted {
    if row.state != State::Failed {
        return Err(format!("it is {}, and only a failed one can be retried", row.state.as_str()));
    }
    if let Some(active) = around.active {
        return Err(format!("the tenant is torn down by teardown {active} already"));
    }
    let domains = [row.expected_domain.as_deref(), row.domain.as_deref()];
    let objection = protection::object(
        around.protections,
        &row.account,
        row.tenant_id,
        domains.into_iter().flatten(),
    );
    if let Some((_, text)) = objection {
        return Err(text);
    }
    let event = Event {
        from: row.state,
        to: State::Queued,
        reason: Some(Reason::Retry),
        text: Some(worded("queued anew", request)),
        actor: request.actor.clone(),
    };
    row.state = State::Queued;
    row.state_since = now;
    row.run_since = now;
    row.try_anyway = request.try_anyway;
    row.reason = None;
    row.reason_text = None;
    row.holds = Holds::default();
    (row.attempts, row.polls, row.rounds) = (0, 0, 0);
    row.cross_checked = None;
    row.finished_at = None;
    row.eligible_used = std::time::Duration::ZERO;
    row.eligible_since = None;
    teardown::set_clock(row, around.account_runs, now);
    teardown::wake(row, now);
    Ok(("queued anew".to_owned(), event))
}

fn ack(row: &Teardown, request: &OperatorRequest) -> Acted {
    if matches!(row.state, State::Deleted | State::Aborted) {
        return Err(format!("it is {}: nothing rings", row.state.as_str()));
    }
    Ok(("acknowledged until its state changes".to_owned(), unmoved(row, "acknowledged", request)))
}

fn set(
    row: &mut Teardown,
    request: &OperatorRequest,
    ahead: SignedDuration,
    now: Timestamp,
) -> Acted {
    if row.state.is_terminal() {
        return Err(format!("it is {} already", row.state.as_str()));
    }
    let mut changes = Vec::new();
    if let Some(priority) = request.priority {
        row.priority = priority;
        changes.push(format!("priority {priority}"));
    }
    if let Some(not_before) = request.not_before {
        let not_before = millis_up(not_before);
        row.not_before = Some(not_before);
        let told = by_the_wall(not_before, ahead);
        changes.push(format!("not before {told}"));
        if now < not_before {
            // Whoever works on it stops at its next step.
            row.lease = None;
        }
    }
    if changes.is_empty() {
        return Err("neither a priority nor an earliest time was given".to_owned());
    }
    row.updated_at = now;
    let text = changes.join(", ");
    let event = unmoved(row, &text, request);
    Ok((text, event))
}

/// A history row that is no move.
fn unmoved(row: &Teardown, what: &str, request: &OperatorRequest) -> Event {
    Event {
        from: row.state,
        to: row.state,
        reason: None,
        text: Some(worded(what, request)),
        actor: request.actor.clone(),
    }
}

fn worded(what: &str, request: &OperatorRequest) -> String {
    match &request.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => format!("{what} by {}", request.actor),
    }
}

/// The abort that goes with a protect.
pub(in crate::store) fn abort_for_protection(request: &OperatorRequest) -> OperatorRequest {
    let reason = request.reason.clone().unwrap_or_else(|| "protected".to_owned());
    OperatorRequest { verb: Verb::Abort, reason: Some(reason), ..request.clone() }
}

/// The answer stored beside a request, one line for each effect.
pub(in crate::store) fn answer(effects: &[RequestEffect]) -> String {
    if effects.is_empty() {
        return "nothing matched".to_owned();
    }
    let lines: Vec<String> = effects
        .iter()
        .map(|effect| match (effect.id, &effect.account) {
            (Some(id), _) => format!("teardown {id}: {}", effect.text),
            (None, Some(account)) => format!("account {account}: {}", effect.text),
            (None, None) => effect.text.clone(),
        })
        .collect();
    lines.join("\n")
}
