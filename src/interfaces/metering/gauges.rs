//! The gauges, from one look at the store.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::catalogue as all;
use super::labels::{UNCONFIGURED, reason_label};
use super::{BLOCKING, Metric, Scope, count, is_active, seconds};
use crate::core::account::{Account, AccountState};
use crate::core::budget::{Budget, Limit, Resource};
use crate::core::ids::AccountName;
use crate::core::reason::{Reason, ReasonKind};
use crate::core::teardown::Status;
use crate::interfaces::cli::view::standing::Stops;
use crate::interfaces::config::Config;
use crate::runtime::ledger::WINDOW;
use crate::runtime::live::AccountRules;
use crate::store::{self, AccountSurvey, Survey, Tally};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything that the gauges are made of.
pub(super) struct Snapshot<'a> {
    pub(super) survey: &'a Survey,
    pub(super) accounts: Vec<Account>,
    pub(super) config: &'a Config,
    pub(super) rules: &'a BTreeMap<AccountName, AccountRules>,
    pub(super) scope: &'a Scope,
    pub(super) now: Timestamp,
    /// How far the wall clock is ahead of that.
    pub(super) ahead: SignedDuration,
}

impl Scope {
    /// The label of the account of a row.
    pub(super) fn row_account<'a>(&self, name: &'a AccountName) -> &'a str {
        let known = self.accounts.iter().any(|account| account == name.as_str());
        if known { name.as_str() } else { UNCONFIGURED }
    }
}

impl Snapshot<'_> {
    /// Sets every gauge.
    pub(super) fn show(self) {
        let Self { survey, config, rules, scope, now, ahead, .. } = self;
        let stops = Stops(self.accounts);
        show_tallies(&survey.tallies, &stops, scope, now);
        let mut refused = Sums { scope, values: BTreeMap::new() };
        for account in config.accounts.values() {
            let fresh = || Account::fresh(account.name.clone());
            let stored = stops.of(&account.name).cloned().unwrap_or_else(fresh);
            let nothing = AccountSurvey::default();
            let counted = survey.accounts.get(&account.name).unwrap_or(&nothing);
            let of_account = |tally: &&Tally| tally.account == account.name;
            let due = survey.tallies.iter().filter(of_account).filter_map(|t| t.due_since).min();
            let stopped = stops.blocking(&account.name, now).is_some();
            let name = [account.name.as_str()];
            all::OLDEST_DUE_AGE.set(&name, age(due.filter(|_| !stopped), now));
            all::COMMANDS_UNSETTLED.set(&name, count(counted.unsettled));
            all::CUSTOMERS.set(&name, counted.customers.map_or(f64::NAN, count));
            let uncancellable = counted.uncancellable_at.map_or(f64::NAN, seconds);
            all::UNCANCELLABLE.set(&name, uncancellable);
            all::UNSETTLED_AGE.set(&name, age(counted.unsettled_since, now));
            for (guard, tenants) in &counted.refused {
                let labels =
                    [account.name.as_str(), reason_label(Some(*guard), &[ReasonKind::Held])];
                refused.add(&all::ENQUEUE_REFUSALS, &labels, *tenants);
            }
            show_state(&stored, &stops, now, ahead);
            if let Some(rules) = rules.get(&account.name) {
                show_left(rules, &stored, counted, now);
            }
        }
        refused.show(&all::ENQUEUE_REFUSALS);
    }
}

// ---- teardowns --------------------------------------------------------------------------------------

/// Gauges that are sums, begun at zero for every series.
struct Sums<'a> {
    scope: &'a Scope,
    values: BTreeMap<(&'static str, Vec<String>), f64>,
}

impl Sums<'_> {
    fn add(&mut self, metric: &Metric, labels: &[&str], teardowns: u64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        *self.values.entry((metric.name, labels)).or_default() += count(teardowns);
    }

    fn show(&self, metric: &Metric) {
        for labels in metric.series(self.scope) {
            let sum = self.values.get(&(metric.name, labels.clone())).copied();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            metric.set(&labels, sum.unwrap_or_default());
        }
    }
}

fn show_tallies(tallies: &[Tally], stops: &Stops, scope: &Scope, now: Timestamp) {
    let mut sums = Sums { scope, values: BTreeMap::new() };
    for tally in tallies {
        let account = scope.row_account(&tally.account);
        let (status, reason) = standing(tally, stops, now);
        let rows = tally.teardowns;
        sums.add(&all::TEARDOWNS, &[account, tally.state.as_str(), status.as_str()], rows);
        let acknowledged = if tally.acknowledged { "true" } else { "false" };
        let label = |kinds: &[ReasonKind]| reason_label(reason, kinds);
        match status {
            Status::Waiting => {
                sums.add(&all::TEARDOWNS_WAITING, &[account, label(&[ReasonKind::Waiting])], rows);
            }
            Status::Held => {
                sums.add(&all::TEARDOWNS_HELD, &[account, label(&[ReasonKind::Held])], rows);
            }
            Status::Failed if !tally.superseded => {
                let labels = [account, label(&[ReasonKind::Failed]), acknowledged];
                sums.add(&all::TEARDOWNS_FAILED, &labels, rows);
            }
            Status::Moving | Status::Failed | Status::Done => {}
        }
        if tally.stuck && is_active(status) {
            sums.add(&all::TEARDOWNS_STUCK, &[account, label(&BLOCKING), acknowledged], rows);
        }
    }
    for metric in [
        &all::TEARDOWNS,
        &all::TEARDOWNS_WAITING,
        &all::TEARDOWNS_HELD,
        &all::TEARDOWNS_STUCK,
        &all::TEARDOWNS_FAILED,
    ] {
        sums.show(metric);
    }
}

/// What `teardownd list` says of them: what is due does not move while its account is stopped.
fn standing(tally: &Tally, stops: &Stops, now: Timestamp) -> (Status, Option<Reason>) {
    let stopped = stops.blocking(&tally.account, now).filter(|_| !tally.leased);
    match tally.status {
        Status::Moving if stopped.is_some() => (Status::Waiting, stopped),
        Status::Waiting => (Status::Waiting, stopped.or(tally.reason)),
        status => (status, tally.reason),
    }
}

// ---- accounts ---------------------------------------------------------------------------------------

fn show_state(account: &Account, stops: &Stops, now: Timestamp, ahead: SignedDuration) {
    let state = match stops.of(&AccountName::every()) {
        Some(every) => account.condition_under(every, now).state,
        None => account.condition(now).state,
    };
    for one in AccountState::ALL {
        let on = if one == state { 1.0 } else { 0.0 };
        all::ACCOUNT_STATES.set(&[account.name.as_str(), one.as_str()], on);
    }
    let until = account.throttled_until.and_then(|until| until.checked_add(ahead).ok());
    let until = until.map_or(f64::NAN, seconds);
    all::THROTTLED_UNTIL.set(&[account.name.as_str()], until);
}

fn show_left(rules: &AccountRules, stored: &Account, counted: &AccountSurvey, now: Timestamp) {
    let name = stored.name.as_str();
    let policy = rules.safety.get();
    all::CUSTOMERS_LIMIT.set(&[name], count(policy.customers_limit as u64));
    for (window, length, cap) in
        [("hour", HOUR, policy.max_deletions_per_hour), ("day", DAY, policy.max_deletions_per_day)]
    {
        let within = |at: &&Timestamp| age(Some(**at), now) <= length.as_secs_f64();
        let left = cap.saturating_sub(counted.deletions.iter().filter(within).count());
        all::DELETIONS_LEFT.set(&[name, window], count(left as u64));
    }
    let full = Limit { requests: *rules.requests_per_minute.get(), reads: 0 };
    let full = Budget { window: WINDOW, account: full, customer: full };
    let closed = stored.throttled_until.is_some_and(|until| now < until);
    let budget = store::paced(&full, stored.throttled_until, now);
    for resource in Resource::ALL {
        let used = counted.requests.get(&resource).copied().unwrap_or_default();
        let left = if closed { 0 } else { u64::from(budget.account.requests).saturating_sub(used) };
        all::API_REQUESTS_LEFT.set(&[name, resource.as_str()], count(left));
    }
}

/// Seconds since then; 0 without a time, and for one that lies ahead.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
}
