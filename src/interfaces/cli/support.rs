//! `support`: all that a ticket to Microsoft needs. Times are in UTC. What is the team's own matter
//! (who asked, why, in which batch) is left out, and texts are redacted once more.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::tenants;
use super::view::faults::fault_json;
use super::view::table::Table;
use super::view::{json_time, rfc3339};
use crate::core::command::Command;
use crate::core::fault::FailedCall;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::interfaces::config::AccountConfig;
use crate::partner_center::decode::{tidy, tidy_whole};
use crate::store::{DAEMON, StoredFault, TransitionRecord};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let rows = tenants::newest(&context, args).await?;
    let (mut texts, mut tickets) = (Vec::new(), Vec::new());
    for row in &rows {
        let (account, tenant) = (&row.account, row.tenant_id);
        let ticket = Ticket {
            row,
            account: context.config.account(account),
            changes: context.store.history(Some(account), tenant).await?,
            commands: context.store.commands(account, tenant).await?,
            faults: context.store.faults(account, tenant).await?,
            now: context.clock.now(),
        };
        texts.push(ticket.text());
        tickets.push(ticket.json());
    }
    Ok(Report::done(texts.join("\n"), json!({"support": tickets})))
}

/// What is known of one tenant.
struct Ticket<'a> {
    row: &'a Teardown,
    /// `None` where the configuration does not know it any more.
    account: Option<&'a AccountConfig>,
    changes: Vec<TransitionRecord>,
    commands: Vec<Command>,
    faults: Vec<StoredFault>,
    now: Timestamp,
}

impl Ticket<'_> {
    fn last_fault(&self) -> Option<&StoredFault> {
        self.faults.iter().rfind(|fault| fault.teardown_id == self.row.id)
    }

    fn json(&self) -> Value {
        let (row, account) = (self.row, self.account);
        json!({
            "teardownd": VERSION,
            "printed_at": json_time(self.now),
            "account": row.account,
            "partner_tenant": account.map(|account| account.policy.partner_tenant),
            "client_id": account.map(|account| account.client_id),
            "cloud": account.map(|account| account.cloud.to_string()),
            "api_base": account.map(|account| account.api_base.to_string()),
            "customer_tenant": row.tenant_id,
            "domain": row.domain,
            "teardown": {
                "id": row.id,
                "state": row.state,
                "since": json_time(row.state_since),
                "reason": row.reason,
                "text": told_by_teardownd(row),
                "held_by": row.holds.first().map(|hold| hold.code),
                "cross_checked": row.cross_checked,
                "queued_at": json_time(row.created_at),
                "finished_at": json_time(row.finished_at),
            },
            "timeline": self.changes.iter().map(change_json).collect::<Vec<_>>(),
            "calls": self.commands.iter().map(call_json).collect::<Vec<_>>(),
            "failures": self.faults.iter().map(fault_json).collect::<Vec<_>>(),
            "last_fault": self.last_fault().map(fault_json),
        })
    }

    fn text(&self) -> String {
        let parts = [
            ("", self.facts()),
            ("Timeline (UTC)\n", self.timeline()),
            ("Calls that change something (UTC)\n", self.calls()),
            ("Failed calls (UTC), the last one at the end\n", self.failures()),
            ("Answers that are not understood, whole\n", self.answers()),
        ];
        let drawn = parts.into_iter().filter(|(_, table)| !table.is_empty());
        drawn.map(|(heading, table)| format!("{heading}{table}")).collect::<Vec<_>>().join("\n")
    }

    fn facts(&self) -> String {
        let (row, account) = (self.row, self.account);
        let unknown = || "not in the configuration any more".to_owned();
        let known = |value: Option<String>| value.unwrap_or_else(unknown);
        let mut table = Table::new(&["", ""]);
        let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
        fact("teardownd", VERSION.to_owned());
        fact("printed at", rfc3339(self.now));
        fact("partner tenant", known(account.map(|a| a.policy.partner_tenant.to_string())));
        fact("client (app) id", known(account.map(|a| a.client_id.to_string())));
        fact("cloud", known(account.map(|a| format!("{}, {}", a.cloud, a.api_base))));
        fact("customer tenant", row.tenant_id.to_string());
        fact("domain", row.domain.clone().unwrap_or_else(|| "not read yet".to_owned()));
        let state = row.state.as_str();
        fact("teardown", format!("#{}, {state} since {}", row.id, rfc3339(row.state_since)));
        if let Some(reason) = row.reason {
            let text = told_by_teardownd(row).map(|text| format!(": {text}"));
            fact("reason", format!("{reason}{}", text.unwrap_or_default()));
        }
        if let Some(StoredFault { call, .. }) = self.last_fault() {
            fact("last fault", format!("{}: {call}", rfc3339(call.at)));
        }
        table.draw()
    }

    fn timeline(&self) -> String {
        let mut table = Table::new(&["AT", "STATE", "REASON", "TEXT"]);
        for change in &self.changes {
            table.row([
                rfc3339(change.at),
                change.to.as_str().to_owned(),
                change.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                change_text(change),
            ]);
        }
        table.draw()
    }

    fn calls(&self) -> String {
        let mut table = Table::new(&[
            "FIRST SENT",
            "LAST SENT",
            "CALL",
            "MS-REQUESTID",
            "MS-CORRELATIONID",
            "OUTCOME",
            "STATUS",
            "CODE",
            "TEXT",
        ]);
        let time = |at: Option<Timestamp>| at.map_or_else(|| "not sent".to_owned(), rfc3339);
        for command in &self.commands {
            table.row([
                time(command.first_sent_at),
                time(command.last_sent_at),
                format!("{} {}", command.method, command.path),
                command.id.to_string(),
                command.correlation_id.map(|id| id.to_string()).unwrap_or_default(),
                outcome(command).to_owned(),
                command.http_status.map(|status| status.to_string()).unwrap_or_default(),
                command.ms_code.clone().unwrap_or_default(),
                redacted(command.text.as_deref()).unwrap_or_default(),
            ]);
        }
        table.draw()
    }

    fn answers(&self) -> String {
        self.faults.iter().filter_map(|fault| answer_text(&fault.call)).collect()
    }

    fn failures(&self) -> String {
        let mut table = Table::new(&[
            "AT",
            "CALL",
            "MS-REQUESTID",
            "MS-CORRELATIONID",
            "STATUS",
            "CODE",
            "TEXT",
        ]);
        for StoredFault { call, .. } in &self.faults {
            let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
            table.row([
                rfc3339(call.at),
                format!("{} {}", call.method, call.route),
                id(call.request_id),
                id(call.correlation_id),
                call.http_status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
                call.ms_code.clone().unwrap_or_default(),
                tidy(&call.text),
            ]);
        }
        table.draw()
    }
}

/// A kept answer: redacted once more, and whole.
fn answer_text(call: &FailedCall) -> Option<String> {
    let body = call.body.as_deref().map(tidy_whole)?;
    let status = call.http_status.map_or_else(|| "no status".to_owned(), |s| format!("HTTP {s}"));
    let ids = call.answer_ids.as_deref().map(|ids| format!(" ({})", tidy(ids))).unwrap_or_default();
    let (at, method, route) = (rfc3339(call.at), &call.method, &call.route);
    Some(format!("{at} {method} {route}: {status}{ids}\n{body}\n"))
}

fn outcome(command: &Command) -> &'static str {
    command.outcome.map_or("unsettled", |outcome| outcome.as_str())
}

fn redacted(text: Option<&str>) -> Option<String> {
    text.map(tidy)
}

/// The reason of a row in words, unless they are an operator's own.
fn told_by_teardownd(row: &Teardown) -> Option<String> {
    let of_operator = matches!(row.reason, Some(Reason::Aborted | Reason::Paused));
    redacted(row.reason_text.as_deref()).filter(|_| !of_operator)
}

/// The words of a change, unless they are an operator's own.
fn change_text(change: &TransitionRecord) -> String {
    let guard = change.reason.is_some_and(|reason| reason.as_str() == change.actor);
    if change.actor == DAEMON || guard {
        redacted(change.text.as_deref()).unwrap_or_default()
    } else {
        "by an operator".to_owned()
    }
}

fn change_json(change: &TransitionRecord) -> Value {
    json!({
        "at": json_time(change.at),
        "from": change.from,
        "to": change.to,
        "reason": change.reason,
        "text": change_text(change),
    })
}

fn call_json(command: &Command) -> Value {
    json!({
        "method": command.method,
        "route": command.path,
        "action": command.intent.action,
        "request_id": command.id,
        "correlation_id": command.correlation_id,
        "sends": command.sends,
        "first_sent_at": json_time(command.first_sent_at),
        "last_sent_at": json_time(command.last_sent_at),
        "settled_at": json_time(command.settled_at),
        "outcome": command.outcome,
        "http_status": command.http_status,
        "ms_code": command.ms_code,
        "text": redacted(command.text.as_deref()),
    })
}
