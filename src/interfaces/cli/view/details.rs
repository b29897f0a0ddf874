//! Purchases, commands and state changes of a tenant.

use serde_json::{Value, json};

use super::faults::ids;
use super::table::Table;
use super::{Look, foreign_time, json_time};
use crate::core::command::Command;
use crate::core::teardown::Teardown;
use crate::store::{StoredFault, StoredPurchase, TransitionRecord};

/// A purchase for JSON.
pub(crate) fn purchase_json(purchase: &StoredPurchase) -> Value {
    let record = &purchase.record;
    json!({
        "key": record.key,
        "kind": record.kind,
        "name": record.name,
        "route": record.route,
        "status": record.status,
        "standing": record.standing,
        "order_id": record.order_id,
        "blocked": record.blocked,
        "cancellable_until": foreign_time(record.cancellable_until),
        "first_seen_at": json_time(purchase.first_seen_at),
        "last_seen_at": json_time(purchase.last_seen_at),
        "inactive_at": json_time(purchase.inactive_at),
    })
}

/// A command for JSON. Its body is left out: it repeats the whole subscription.
pub(crate) fn command_json(command: &Command) -> Value {
    json!({
        "request_id": command.id,
        "correlation_id": command.correlation_id,
        "teardown_id": command.teardown_id,
        "actor": "teardownd",
        "action": command.intent.action,
        "resource": command.intent.resource,
        "method": command.method,
        "path": command.path,
        "sends": command.sends,
        "outcome": command.outcome,
        "http_status": command.http_status,
        "ms_code": command.ms_code,
        "text": command.text,
        "created_at": json_time(command.created_at),
        "first_sent_at": json_time(command.first_sent_at),
        "last_sent_at": json_time(command.last_sent_at),
        "settled_at": json_time(command.settled_at),
    })
}

/// A state change for JSON.
pub(crate) fn transition_json(change: &TransitionRecord) -> Value {
    json!({
        "teardown_id": change.teardown_id,
        "account": change.account,
        "at": json_time(change.at),
        "from": change.from,
        "to": change.to,
        "reason": change.reason,
        "text": change.text,
        "actor": change.actor,
    })
}

/// What `show` adds to the fields of `list`.
pub(crate) fn more_json(row: &Teardown) -> Value {
    json!({
        "expected_domain": row.expected_domain,
        "priority": row.priority,
        "note": row.note,
        "not_before": json_time(row.not_before),
        "reason_code": row.reason,
        "held_by": row.holds.first().map(|hold| &hold.actor),
        "held_since": json_time(row.holds.first().map(|hold| hold.since)),
        "polls": row.polls,
        "rounds": row.rounds,
        "suspects": row.suspects,
        "cross_checked": row.cross_checked,
        "uncancellable_at": foreign_time(row.uncancellable_at),
        "approved_by": row.approval.as_ref().map(|approval| &approval.actor),
        "approved_at": json_time(row.approval.as_ref().map(|approval| approval.at)),
        "lease_owner": row.lease.as_ref().map(|lease| &lease.owner),
        "lease_until": json_time(row.lease.as_ref().map(|lease| lease.until)),
    })
}

/// Purchases as a table.
pub(crate) fn purchases_text(purchases: &[StoredPurchase]) -> String {
    let mut table =
        Table::new(&["PURCHASE", "NAME", "KIND", "ROUTE", "STATUS", "STANDING", "BLOCKED"]);
    for purchase in purchases {
        let record = purchase.record.clone();
        table.row([
            record.key.to_string(),
            record.name,
            record.kind.as_str().to_owned(),
            record.route.as_str().to_owned(),
            record.status,
            record.standing.as_str().to_owned(),
            record.blocked.unwrap_or_default(),
        ]);
    }
    table.draw()
}

/// Commands as a table.
pub(crate) fn commands_text(commands: &[Command], look: &Look) -> String {
    let mut table = Table::new(&["LAST SENT", "ACTION", "RESOURCE", "SENDS", "OUTCOME", "ANSWER"]);
    for command in commands {
        table.row([
            command.last_sent_at.map_or("not yet".to_owned(), |at| look.local(at)),
            command.intent.action.as_str().to_owned(),
            command.intent.resource.to_string(),
            command.sends.to_string(),
            outcome(command).to_owned(),
            answer(command),
        ]);
    }
    table.draw()
}

/// State changes, commands and failed calls in one table, by time, with the ids Microsoft's support asks for.
pub(crate) fn history_text(
    changes: &[TransitionRecord],
    commands: &[Command],
    faults: &[StoredFault],
    look: &Look,
) -> String {
    let mut lines: Vec<_> = changes.iter().map(|change| (change.at, change_line(change))).collect();
    lines.extend(commands.iter().map(|command| {
        (command.first_sent_at.unwrap_or(command.created_at), command_line(command))
    }));
    let untold = faults.iter().filter(|fault| !commands.iter().any(|c| tells(c, fault)));
    lines.extend(untold.map(|fault| (fault.call.at, fault_line(fault))));
    lines.sort_by_key(|(at, _)| *at);
    let mut table = Table::new(&["WHEN", "WHAT", "BY", "DETAIL"]);
    for (at, [what, by, detail]) in lines {
        table.row([look.local(at), what, by, detail]);
    }
    table.draw()
}

fn change_line(change: &TransitionRecord) -> [String; 3] {
    let what = match change.from {
        Some(from) if from != change.to => format!("{} -> {}", from.as_str(), change.to.as_str()),
        Some(_) | None => change.to.as_str().to_owned(),
    };
    let code = change.reason.map(|reason| reason.as_str());
    let detail = match (code, change.text.as_deref()) {
        (Some(code), Some(text)) => format!("{code}: {text}"),
        (one, other) => one.or(other).unwrap_or_default().to_owned(),
    };
    [what, change.actor.clone(), detail]
}

fn command_line(command: &Command) -> [String; 3] {
    let mut detail = format!(
        "{} {}; {}; request {}",
        command.method,
        command.path,
        outcome(command),
        command.id
    );
    if let Some(correlation) = command.correlation_id {
        detail.push_str(&format!(", correlation {correlation}"));
    }
    if command.sends > 1 {
        detail.push_str(&format!(", sent {} times", command.sends));
    }
    let answer = answer(command);
    if !answer.is_empty() {
        detail.push_str(&format!("; {answer}"));
    }
    [command.intent.action.as_str().to_owned(), "teardownd".to_owned(), detail]
}

/// Whether a failure is the answer that the line of its command shows.
fn tells(command: &Command, fault: &StoredFault) -> bool {
    fault.call.request_id == Some(command.id.0)
        && fault.call.correlation_id == command.correlation_id
}

fn fault_line(fault: &StoredFault) -> [String; 3] {
    let code = fault.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
    let detail = format!("{code}{}; {}", fault.call, ids(fault));
    ["failed call".to_owned(), "teardownd".to_owned(), detail]
}

fn outcome(command: &Command) -> &'static str {
    command.outcome.map_or("unsettled", |outcome| outcome.as_str())
}

fn answer(command: &Command) -> String {
    let status = command.http_status.map(|status| status.to_string());
    [status, command.ms_code.clone(), command.text.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}
