//! What the demo says at its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, Report};
use crate::core::budget::Resource;
use crate::core::teardown::{State, Teardown};
use crate::runtime::ledger::WINDOW;
use crate::simulator::{Journal, Kind, Template};

/// What is known at the end.
pub(super) struct Facts {
    pub(super) rows: Vec<Teardown>,
    pub(super) bought: BTreeMap<Kind, usize>,
    pub(super) wall: Duration,
    pub(super) critical_path: Duration,
    pub(super) budget: u32,
    pub(super) journal: Journal,
}

impl Facts {
    fn in_state(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    fn calls(&self) -> BTreeMap<Resource, u64> {
        let mut calls = BTreeMap::new();
        for ((_, template), count) in self.journal.calls_by_template() {
            if let Some(resource) = resource_of(template) {
                *calls.entry(resource).or_default() += count;
            }
        }
        calls
    }

    /// How long the budget alone takes: the first window's requests go out at once, each further
    /// window waits for the one before.
    fn budget_floor(&self) -> Duration {
        let most = self.calls().into_values().max().unwrap_or(0);
        let windows = most.saturating_sub(1) / u64::from(self.budget);
        WINDOW.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX))
    }
}

fn resource_of(template: Template) -> Option<Resource> {
    match template {
        Template::Orders | Template::Order => Some(Resource::Order),
        Template::Subscriptions
        | Template::Subscription
        | Template::Activate
        | Template::AzureEntitlements
        | Template::AzureEntitlement
        | Template::AzureCancel => Some(Resource::Subscription),
        Template::Customers
        | Template::Customer
        | Template::Entitlements
        | Template::LegalBusiness
        | Template::Organization
        | Template::AuditRecords => Some(Resource::Customer),
        Template::TokenV1 | Template::TokenV2 | Template::Unknown => None,
    }
}

/// The summary, and exit 0 only if every customer was deleted and nothing was done wrong.
pub(super) fn report(facts: &Facts) -> Report {
    let (deleted, all) = (facts.in_state(State::Deleted), facts.rows.len());
    let breaches = facts.journal.breaches();
    let mut report = Report::done(text(facts), json_of(facts));
    if deleted < all || !breaches.is_empty() {
        report.exit = Exit::Failed;
        let message = format!(
            "{deleted} of {all} customers were deleted, with {} breaches of the API's rules",
            breaches.len()
        );
        report.failure = Some(Failure::new(Exit::Failed, message));
    }
    report
}

fn text(facts: &Facts) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    let (deleted, all) = (facts.in_state(State::Deleted), facts.rows.len());
    line(format!("{deleted} of {all} customers deleted and proven gone"));
    for row in facts.rows.iter().filter(|row| row.state != State::Deleted) {
        let reason = row.reason.or(row.holds.first().map(|hold| hold.code));
        line(format!(
            "  {} {}: {} - {}",
            row.tenant_id,
            row.state.as_str(),
            reason.map_or("no reason", |reason| reason.as_str()),
            row.reason_text.as_deref().unwrap_or("")
        ));
        if let Some(reason) = reason {
            line(format!("    {}", reason.remedy()));
        }
    }
    let bought: Vec<String> =
        facts.bought.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    line(format!("purchases: {}", bought.join(", ")));
    let calls = facts.calls();
    let total: u64 = calls.values().sum();
    let by_resource: Vec<String> =
        calls.iter().map(|(resource, count)| format!("{count} {}", resource.as_str())).collect();
    line(format!(
        "calls: {total} ({:.1} per customer; {}), {} answered 429",
        per_customer(total, all),
        by_resource.join(", "),
        facts.journal.throttled()
    ));
    line(format!(
        "wall time {:.1} s; longest single customer by the sandbox's own pace {:.1} s; the request \
         budget alone takes {:.0} s",
        facts.wall.as_secs_f64(),
        facts.critical_path.as_secs_f64(),
        facts.budget_floor().as_secs_f64()
    ));
    let faults = facts.journal.faults();
    if !faults.is_empty() {
        let by_kind: Vec<String> =
            faults.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        let all: u64 = faults.values().sum();
        line(format!("faulty answers: {all} ({})", by_kind.join(", ")));
    }
    line(format!("breaches of the API's rules: {}", facts.journal.breaches().len()));
    for breach in facts.journal.breaches().iter().take(20) {
        line(format!("  {breach:?}"));
    }
    out
}

fn per_customer(calls: u64, customers: usize) -> f64 {
    calls as f64 / customers.max(1) as f64
}

fn json_of(facts: &Facts) -> Value {
    let all = facts.rows.len();
    let calls: BTreeMap<&str, u64> =
        facts.calls().into_iter().map(|(resource, count)| (resource.as_str(), count)).collect();
    let total: u64 = calls.values().sum();
    let routes: BTreeMap<String, u64> = facts
        .journal
        .calls_by_template()
        .into_iter()
        .map(|((method, template), count)| (format!("{method} {}", template.as_str()), count))
        .collect();
    let bought: BTreeMap<&str, usize> =
        facts.bought.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    let failed: Vec<Value> = facts
        .rows
        .iter()
        .filter(|row| row.state != State::Deleted)
        .map(|row| {
            json!({
                "tenant_id": row.tenant_id,
                "state": row.state,
                "reason": row.reason,
                "text": row.reason_text,
                "remedy": row.reason.map(|reason| reason.remedy()),
            })
        })
        .collect();
    let breaches: Vec<String> =
        facts.journal.breaches().iter().map(|breach| format!("{breach:?}")).collect();
    json!({"demo": {
        "tenants": all,
        "deleted": facts.in_state(State::Deleted),
        "not_deleted": failed,
        "purchases": bought,
        "calls": calls,
        "calls_by_route": routes,
        "calls_per_customer": per_customer(total, all),
        "throttled": facts.journal.throttled(),
        "faults": facts.journal.faults(),
        "wall_seconds": facts.wall.as_secs_f64(),
        "critical_path_seconds": facts.critical_path.as_secs_f64(),
        "budget_seconds": facts.budget_floor().as_secs_f64(),
        "breaches": breaches,
    }})
}
