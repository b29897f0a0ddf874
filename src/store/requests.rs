//! What an operator's request does to one teardown, and how a request typed in by SQL is read.

use jiff::Timestamp;

use super::rules::{self, Event};
use super::{Filter, OperatorRequest, RequestEffect, Verb};
use crate::core::command::{Action, Command, Outcome};
use crate::core::ids::{AccountName, TeardownId};
use crate::core::reason::Reason;
use crate::core::teardown::{State, Teardown};

/// What a request must know besides the row itself.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// Every command of the tenant. Only an abort looks at them.
    pub(super) commands: &'a [Command],
    /// Another active teardown of the same tenant.
    pub(super) active: Option<TeardownId>,
    /// Whether the account's teardowns are eligible now.
    pub(super) account_runs: bool,
}

/// Applies a request to a row. Without an event nothing was changed.
pub(super) fn act(
    row: &mut Teardown,
    request: &OperatorRequest,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> (RequestEffect, Option<Event>) {
    let result = match request.verb {
        Verb::Hold => hold(row, request, now),
        Verb::Release => release(row, request, around, now),
        Verb::Abort => abort(row, request, around, now),
        Verb::Retry => retry(row, request, around, now),
        Verb::Pause | Verb::Resume | Verb::Unhalt => {
            Err(format!("{} is about accounts, not teardowns", request.verb.as_str()))
        }
    };
    let (applied, text, event) = match result {
        Ok((text, event)) => (true, text, Some(event)),
        Err(text) => (false, text, None),
    };
    let effect = RequestEffect {
        id: Some(row.id),
        account: Some(row.account.clone()),
        tenant_id: Some(row.tenant_id),
        applied,
        text,
    };
    (effect, event)
}

/// Changed, with what to say about it; or not, with the reason.
type Acted = Result<(String, Event), String>;

fn hold(row: &mut Teardown, request: &OperatorRequest, now: Timestamp) -> Acted {
    if row.state.is_terminal() {
        return Err(format!("it is {} already", row.state.as_str()));
    }
    if let Some(held) = &row.hold {
        return Err(format!("it is held already by {}: {}", held.actor, held.text));
    }
    let text = request.reason.clone().unwrap_or_else(|| format!("held by {}", request.actor));
    rules::hold(row, Reason::Operator, &text, &request.actor, now)
        .map(|event| ("held".to_owned(), event))
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
    let text = worded("released", request);
    rules::release(row, text, &request.actor, around.account_runs, now)
        .map(|event| ("released".to_owned(), event))
        .ok_or_else(|| "it is not held".to_owned())
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
    let accepted: Vec<String> = around
        .commands
        .iter()
        .filter(|c| matches!(c.outcome, Some(Outcome::Accepted | Outcome::GoalReached)))
        .map(|c| format!("{} {}", c.intent.action.as_str(), c.intent.resource))
        .collect();
    let text = if accepted.is_empty() {
        "aborted; nothing had been cancelled".to_owned()
    } else {
        format!("aborted; accepted before that: {}", accepted.join(", "))
    };
    Ok((text, event))
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
    row.hold = None;
    row.lease = None;
    row.finished_at = Some(now);
    rules::wake(row, now);
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
    row.hold = None;
    (row.attempts, row.polls, row.rounds) = (0, 0, 0);
    row.cross_checked = None;
    row.finished_at = None;
    row.eligible_used = std::time::Duration::ZERO;
    row.eligible_since = None;
    rules::set_clock(row, around.account_runs, now);
    rules::wake(row, now);
    Ok(("queued anew".to_owned(), event))
}

fn worded(what: &str, request: &OperatorRequest) -> String {
    match &request.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => format!("{what} by {}", request.actor),
    }
}

/// A row of `operator_requests` as it was typed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TypedRequest {
    pub(super) verb: String,
    pub(super) account: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) teardown_id: Option<String>,
    pub(super) batch: Option<String>,
    pub(super) state: Option<String>,
    pub(super) latest_only: bool,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    pub(super) until: Option<String>,
    pub(super) try_anyway: bool,
}

impl TypedRequest {
    /// Reads the row; the error is the answer for whoever typed it.
    pub(super) fn read(self) -> Result<OperatorRequest, String> {
        let verb = Verb::parse(self.verb.trim()).ok_or_else(|| {
            let known: Vec<_> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
            format!("verb {:?} is none of {}", self.verb, known.join(", "))
        })?;
        let filter = Filter {
            ids: list(self.teardown_id.as_deref(), |text| {
                text.parse()
                    .map(TeardownId)
                    .map_err(|_| format!("teardown_id {text:?} is no number"))
            })?,
            account: self.account.map(AccountName::new),
            tenants: list(self.tenant_id.as_deref(), |text| {
                text.parse().map_err(|error| format!("tenant_id {error}"))
            })?,
            batch: self.batch,
            states: list(self.state.as_deref(), |text| {
                State::parse(text).ok_or_else(|| format!("state {text:?} is not known"))
            })?,
            latest_only: self.latest_only,
        };
        let about_accounts = matches!(verb, Verb::Pause | Verb::Resume | Verb::Unhalt);
        let conditions = Filter { latest_only: false, ..filter.clone() };
        if !about_accounts && conditions == Filter::default() {
            return Err(format!(
                "{} needs a tenant_id, teardown_id, batch, state or account: without one it would \
                 change every teardown",
                verb.as_str()
            ));
        }
        if about_accounts && (Filter { account: None, ..conditions }) != Filter::default() {
            return Err(format!(
                "{} is about an account or about everything: for single teardowns use hold or release",
                verb.as_str()
            ));
        }
        let until = self.until.map(|text| {
            text.parse::<Timestamp>()
                .map_err(|_| format!("until {text:?} is no time such as 2027-01-31T08:00:00.000Z"))
        });
        Ok(OperatorRequest {
            verb,
            filter,
            actor: self.actor,
            reason: self.reason,
            until: until.transpose()?,
            try_anyway: self.try_anyway,
        })
    }
}

/// One value or several, separated by commas.
fn list<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(parse)
        .collect()
}

/// The answer stored beside a request, one line for each effect.
pub(super) fn answer(effects: &[RequestEffect]) -> String {
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

/// Several values as one text, as they are typed; `None` for no values.
pub(super) fn joined<T>(values: &[T], text: impl Fn(&T) -> String) -> Option<String> {
    (!values.is_empty()).then(|| values.iter().map(text).collect::<Vec<_>>().join(","))
}
