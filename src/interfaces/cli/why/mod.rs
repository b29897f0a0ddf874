//! `why`: every gate in order, and the next command to type.

mod gates;

use std::time::Duration;

use serde_json::{Value, json};

use self::gates::{Asked, Gate};
use super::args::{Globals, TenantArgs};
use super::context::Context;
use super::exit::{Ending, Report};
use super::tenants;
use super::view::account::condition_json;
use super::view::faults::{self, fault_json};
use super::view::standing::{Standing, Stops};
use super::view::table::Table;
use super::view::{Look, plain};
use crate::core::gates::{Guard, Verdict};
use crate::core::hold::Hold;
use crate::core::ids::TenantId;
use crate::core::reason::Reason;
use crate::core::teardown::{State, Status, Teardown};
use crate::interfaces::assemble::enough_room;
use crate::interfaces::step;
use crate::store::{Ack, StoredFault, StoredPurchase};

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &TenantArgs) -> Ending {
    let context = Context::open(globals).await?;
    let rows = tenants::newest(&context, args).await?;
    let stops = context.stops().await?;
    let silence = context.silence().await?;
    let rules = context.in_force().await?;
    let database = &context.config.database;
    let full = enough_room(database)().err();
    let acks = context.store.acks().await?;
    let look = context.look();
    let (mut texts, mut answers) = (Vec::new(), Vec::new());
    for row in &rows {
        let purchases = context.store.purchases(row.id).await?;
        let fault = context.last_fault(row).await?;
        let asked = match rules.account(&row.account) {
            Some(account) => {
                Some(Asked::of(&context.store, row, &purchases, &account.policy, look.now).await?)
            }
            None => None,
        };
        let case = Case {
            row,
            purchases: &purchases,
            fault: fault.as_ref(),
            stops: &stops,
            asked: asked.as_ref(),
            silence: silence.as_deref(),
            full: full.as_deref(),
            look: &look,
            stuck_after: rules.stuck_after,
            ack: acks.iter().find(|ack| ack.id == row.id),
        };
        texts.push(case.text());
        answers.push(case.json());
    }
    let notes: Vec<String> = step::note(context.clock.as_ref()).into_iter().collect();
    texts.extend(notes.iter().map(|note| format!("note: {note}\n")));
    Ok(Report::done(texts.join("\n"), json!({"why": answers, "notes": notes})))
}

/// One teardown with everything that is said about it.
#[derive(Debug)]
struct Case<'a> {
    row: &'a Teardown,
    purchases: &'a [StoredPurchase],
    /// Its latest failed call.
    fault: Option<&'a StoredFault>,
    stops: &'a Stops,
    /// The guards of its account, unless the configuration does not know it.
    asked: Option<&'a Asked<'a>>,
    /// Why nobody works on the database, if nobody does.
    silence: Option<&'a str>,
    /// Why nothing new is claimed, if the disk is that full.
    full: Option<&'a str>,
    look: &'a Look,
    /// Time in one state after which it is called stuck.
    stuck_after: Duration,
    /// The acknowledgement of the row, if there is one.
    ack: Option<&'a Ack>,
}

impl Case<'_> {
    fn is_stuck(&self) -> bool {
        self.row.is_stuck(self.stuck_after, self.look.now)
    }

    fn standing(&self) -> Standing {
        Standing::of(self.row, self.stops, self.look.now)
    }

    fn text(&self) -> String {
        let (row, standing) = (self.row, self.standing());
        let because = standing.blocked_by.map(|reason| format!(", {reason}")).unwrap_or_default();
        let domain = row.domain.as_ref().map(|domain| format!(" ({domain})")).unwrap_or_default();
        let mut text = format!(
            "{}{} in account {}: {} for {}; {}{because}\n",
            row.tenant_id,
            plain(&domain),
            row.account,
            row.state.as_str(),
            self.look.since(row.state_since),
            standing.status.as_str(),
        );
        for line in self.words().into_iter().chain(self.last_fault()) {
            text.push_str(&format!("  {}\n", plain(&line)));
        }
        if !row.state.is_terminal() {
            let mut table = Table::new(&["", "", "", ""]);
            for Gate { name, open, text } in self.gates() {
                let mark = if open { "open" } else { "CLOSED" };
                table.row([" ".to_owned(), name.to_owned(), mark.to_owned(), text]);
            }
            if let Some(write) = self.next_write() {
                text.push_str(&format!("  gates before the next write, {write}:\n"));
            }
            text.push_str(&table.draw());
        }
        text.push_str(&format!("next: {}\n", self.next()));
        text
    }

    fn json(&self) -> Value {
        let standing = self.standing();
        let condition = self.stops.condition(&self.row.account, self.look.now);
        let gates: Vec<Value> = self
            .gates()
            .into_iter()
            .map(|Gate { name, open, text }| json!({"gate": name, "open": open, "text": text}))
            .collect();
        json!({
            "id": self.row.id,
            "account": self.row.account,
            "account_condition": condition_json(&self.row.account, &condition),
            "tenant_id": self.row.tenant_id,
            "state": self.row.state,
            "status": standing.status,
            "blocked_by": standing.blocked_by,
            "stuck": self.is_stuck(),
            "acked_by": self.ack.map(|ack| &ack.actor),
            "words": self.words(),
            "last_fault": self.fault.map(fault_json),
            "gates": gates,
            "next": self.next(),
        })
    }

    /// The stored text, and what can be done about it.
    fn words(&self) -> Vec<String> {
        let holds = self.row.holds.iter().map(|hold| {
            let by = format!("held by {}", hold.actor);
            // Without a reason of its own a hold says just that.
            if hold.text == by { by } else { format!("{by}: {}", hold.text) }
        });
        let stored = self.row.reason_text.clone().filter(|_| !self.row.holds.stand());
        let remedy = self.standing().blocked_by.map(|reason| reason.remedy().to_owned());
        let stuck = self.is_stuck().then(|| {
            let limit = humantime::format_duration(self.stuck_after);
            format!("stuck: in this state for longer than engine.stuck_after = {limit}")
        });
        let ack = self.ack.map(|ack| {
            let because = ack.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("acknowledged by {} on {}{because}", ack.actor, self.look.local(ack.at))
        });
        stuck.into_iter().chain(ack).chain(holds).chain(stored).chain(remedy).collect()
    }

    /// The latest failed call, unless the work is done.
    fn last_fault(&self) -> Option<String> {
        let fault = self.fault.filter(|_| self.standing().status != Status::Done)?;
        let ids = faults::ids(fault);
        Some(format!("last fault: {}; {ids}", faults::fault_line(fault, self.look)))
    }

    /// The next command to type.
    fn next(&self) -> String {
        let (tenant, account) = (self.row.tenant_id, &self.row.account);
        match self.row.state {
            State::Deleted => return "nothing: the tenant is provably gone".to_owned(),
            State::Aborted => return format!("teardownd enqueue {tenant} --account {account}"),
            State::Failed => return format!("teardownd retry {tenant}"),
            State::Queued
            | State::EntitlementsFetched
            | State::OrdersCancelling
            | State::Polling
            | State::Deleting => {}
        }
        if let Some(hold) = self.row.holds.first() {
            return self.after_hold(hold);
        }
        match self.standing().blocked_by {
            Some(Reason::Halted) => format!("teardownd unhalt --account {account}"),
            Some(Reason::Paused) => self.resume(),
            Some(reason) if reason.is_outage() => "teardownd check".to_owned(),
            _ if self.refusal().is_some() => format!("teardownd abort {tenant}"),
            _ if self.silence.is_some() => "teardownd run".to_owned(),
            // This one waits for whatever that tenant needs.
            _ => match self.canary() {
                Some(other) => format!("teardownd why {other}"),
                None => format!("teardownd wait {tenant}"),
            },
        }
    }

    /// The command that lets a hold go.
    fn after_hold(&self, hold: &Hold) -> String {
        let (tenant, account) = (self.row.tenant_id, &self.row.account);
        match hold.code {
            Reason::Arming => format!("teardownd arm --account {account}"),
            Reason::Approval | Reason::PlanDrift | Reason::LargeBatch => {
                format!("teardownd approve {tenant}")
            }
            Reason::OwnTenant | Reason::DomainMismatch => format!("teardownd abort {tenant}"),
            guard if self.refusal() == Some(guard) => format!("teardownd abort {tenant}"),
            _ => format!("teardownd release {tenant}"),
        }
    }

    /// The other tenant whose first step goes out alone, where it is waited for.
    fn canary(&self) -> Option<TenantId> {
        let canary = self.stops.of(&self.row.account)?.canary?;
        (canary.tenant_id != self.row.tenant_id).then_some(canary.tenant_id)
    }

    /// The guard that refuses the tenant itself, whatever is read of it.
    fn refusal(&self) -> Option<Reason> {
        self.verdicts().into_iter().find_map(|(asked, verdict)| match verdict {
            // A hold tells how things were when it was set.
            Verdict::Hold { guard, .. } if asked != Guard::Hold && is_about_the_tenant(guard) => {
                Some(guard)
            }
            _ => None,
        })
    }

    fn resume(&self) -> String {
        let own = self.stops.of(&self.row.account);
        if own.is_some_and(|account| account.is_paused(self.look.now)) {
            format!("teardownd resume --account {}", self.row.account)
        } else {
            "teardownd resume".to_owned()
        }
    }
}

/// Guards whose refusal a release does not end.
fn is_about_the_tenant(guard: Reason) -> bool {
    matches!(
        guard,
        Reason::NotSandbox
            | Reason::OwnTenant
            | Reason::ProtectedTenant
            | Reason::ProtectedDomain
            | Reason::DomainRequired
    )
}

#[cfg(test)]
mod tests;
