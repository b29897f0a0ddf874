//! The tables in memory: the queue, leases and the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::reload::Reloads;
use crate::core::account::Account;
use crate::core::budget::{Ask, Bucket, Budget, Grant};
use crate::core::command::Command;
use crate::core::fault::FailedCall;
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::{Lease, NewTeardown, State, Teardown};
use crate::store::protect::check_enqueue;
use crate::store::rules::{self, Event, after, before, millis, millis_up};
use crate::store::{
    Ack, ClaimRequest, Claimed, DaemonInfo, EnqueueOutcome, FAULTS_KEPT, Filter, KnownCustomers,
    RequestRecord, Result, StoreError, StoredFault, StoredPurchase, TransitionRecord, stops,
    window,
};

/// A reservation of sends.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) account: AccountName,
    pub(super) bucket: Bucket,
    pub(super) at: Timestamp,
    pub(super) sends: u64,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) teardowns: BTreeMap<TeardownId, Teardown>,
    pub(super) purchases: BTreeMap<TeardownId, BTreeMap<String, StoredPurchase>>,
    pub(super) commands: Vec<Command>,
    pub(super) transitions: Vec<TransitionRecord>,
    pub(super) faults: Vec<Filed>,
    pub(super) accounts: BTreeMap<AccountName, Account>,
    pub(super) daemon: Option<DaemonInfo>,
    /// Sorted by account, kind and subject.
    pub(super) protections: Vec<Protection>,
    pub(super) acks: BTreeMap<TeardownId, Ack>,
    pub(super) requests: Vec<RequestRecord>,
    pub(super) customers: BTreeMap<AccountName, KnownCustomers>,
    pub(super) reloads: Reloads,
    pub(super) sends: Vec<Send>,
    last_teardown: i64,
    last_transition: i64,
    last_fault: i64,
}

/// A failure with whom it concerns.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) account: AccountName,
    pub(super) tenant: TenantId,
    pub(super) fault: StoredFault,
}

impl Data {
    // ---- rows ----------------------------------------------------------------------------------

    pub(super) fn row(&self, id: TeardownId) -> Result<Teardown> {
        self.teardowns
            .get(&id)
            .cloned()
            .ok_or_else(|| StoreError::NotFound(format!("teardown {id}")))
    }

    pub(super) fn save(&mut self, row: Teardown) {
        let (id, state) = (row.id, row.state);
        let hold = row.hold.as_ref().map(|hold| hold.code);
        if let Some(before) = self.teardowns.insert(id, row)
            && (before.state != state || before.hold.map(|hold| hold.code) != hold)
        {
            // It was about that state and that hold.
            self.acks.remove(&id);
        }
    }

    pub(super) fn account(&self, name: &AccountName) -> Account {
        self.accounts.get(name).cloned().unwrap_or_else(|| Account::fresh(name.clone()))
    }

    pub(super) fn account_mut(&mut self, name: &AccountName) -> &mut Account {
        self.accounts.entry(name.clone()).or_insert_with(|| Account::fresh(name.clone()))
    }

    pub(super) fn every(&self) -> Account {
        self.account(&AccountName::every())
    }

    pub(super) fn account_runs(&self, name: &AccountName, now: Timestamp) -> bool {
        rules::runs(&self.account(name), &self.every(), now)
    }

    pub(super) fn commands_of(&self, account: &AccountName, tenant: TenantId) -> Vec<Command> {
        let of_tenant = |c: &&Command| c.account == *account && c.tenant_id == tenant;
        self.commands.iter().filter(of_tenant).cloned().collect()
    }

    pub(super) fn active(&self, account: &AccountName, tenant: TenantId) -> Option<TeardownId> {
        self.teardowns
            .values()
            .find(|row| {
                row.account == *account && row.tenant_id == tenant && !row.state.is_terminal()
            })
            .map(|row| row.id)
    }

    pub(super) fn record(
        &mut self,
        row: &Teardown,
        from: Option<State>,
        event: Event,
        at: Timestamp,
    ) {
        self.last_transition += 1;
        self.transitions.push(TransitionRecord {
            id: self.last_transition,
            teardown_id: row.id,
            account: row.account.clone(),
            tenant_id: row.tenant_id,
            at,
            from,
            to: event.to,
            reason: event.reason,
            text: event.text,
            actor: event.actor,
        });
    }

    pub(super) fn record_all(&mut self, row: &Teardown, events: Vec<Event>, at: Timestamp) {
        for event in events {
            self.record(row, Some(event.from), event, at);
        }
    }

    /// Appends failures and drops the oldest of the teardown beyond what is kept.
    pub(super) fn append_faults(
        &mut self,
        row: &Teardown,
        reason: Option<Reason>,
        calls: &[FailedCall],
    ) {
        for call in calls {
            self.last_fault += 1;
            let call = FailedCall { at: millis(call.at), ..call.clone() };
            self.faults.push(Filed {
                account: row.account.clone(),
                tenant: row.tenant_id,
                fault: StoredFault { id: self.last_fault, teardown_id: row.id, reason, call },
            });
        }
        let own = |filed: &&Filed| filed.fault.teardown_id == row.id;
        let oldest = self.faults.iter().filter(own).rev().nth(FAULTS_KEPT - 1);
        if let Some(oldest) = oldest.map(|filed| filed.fault.id) {
            self.faults.retain(|filed| !own(&filed) || filed.fault.id >= oldest);
        }
    }

    // ---- queue ---------------------------------------------------------------------------------

    pub(super) fn enqueue(
        &mut self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>> {
        rows.iter().try_for_each(|row| rules::check_account(&row.account))?;
        check_enqueue(rows, &self.protections)?;
        Ok(rows.iter().map(|row| self.enqueue_one(row, now)).collect())
    }

    fn enqueue_one(&mut self, new: &NewTeardown, now: Timestamp) -> (TeardownId, EnqueueOutcome) {
        if let Some(id) = self.active(&new.account, new.tenant_id) {
            return (id, EnqueueOutcome::AlreadyActive);
        }
        let deleted = self.teardowns.values().rev().find(|row| {
            row.account == new.account
                && row.tenant_id == new.tenant_id
                && row.state == State::Deleted
        });
        if let Some(row) = deleted.filter(|_| !new.again) {
            return (row.id, EnqueueOutcome::AlreadyDeleted);
        }
        self.last_teardown += 1;
        let id = TeardownId(self.last_teardown);
        let mut row = queued(id, new, now);
        rules::set_clock(&mut row, self.account_runs(&new.account, now), now);
        let event = Event {
            from: State::Queued,
            to: State::Queued,
            reason: None,
            text: new.note.clone(),
            actor: new.requested_by.clone().unwrap_or_else(|| "unknown".to_owned()),
        };
        self.record(&row, None, event, now);
        self.save(row);
        (id, EnqueueOutcome::Queued)
    }

    pub(super) fn list(&self, filter: &Filter) -> Vec<Teardown> {
        let newest = |row: &Teardown| {
            self.teardowns.range(TeardownId(row.id.0 + 1)..).all(|(_, other)| {
                (&other.account, other.tenant_id) != (&row.account, row.tenant_id)
            })
        };
        let wanted =
            |row: &&Teardown| rules::matches(row, filter) && (!filter.latest_only || newest(row));
        self.teardowns.values().rev().filter(wanted).cloned().collect()
    }

    // ---- leases --------------------------------------------------------------------------------

    pub(super) fn take_over(&mut self, now: Timestamp) -> u64 {
        let mut taken = 0;
        for row in self.teardowns.values_mut().filter(|row| row.lease.is_some()) {
            row.lease = None;
            row.fence = Fence(row.fence.0 + 1);
            rules::wake(row, now);
            taken += 1;
        }
        taken
    }

    pub(super) fn claim(&mut self, request: &ClaimRequest, now: Timestamp) -> Vec<Claimed> {
        self.expire_pauses(now);
        let every = self.every();
        let mut claimed = Vec::new();
        for (name, wanted) in &request.slots {
            let leased = self.teardowns.values().filter(|row| {
                row.account == *name && row.lease.as_ref().is_some_and(|l| now < l.until)
            });
            let account = self.account(name);
            let slots = stops::allowance(&account, &every, leased.count(), *wanted, now);
            for id in self.due(name, now).into_iter().take(slots) {
                if let Some(row) = self.teardowns.get_mut(&id) {
                    let until = millis(after(now, request.ttl));
                    rules::lease(row, Lease { owner: request.owner.clone(), until }, now);
                    claimed.push(Claimed { fence: row.fence, teardown: row.clone() });
                }
            }
        }
        claimed
    }

    /// Rows of an account that could be claimed now, in the order of claims.
    fn due(&self, account: &AccountName, now: Timestamp) -> Vec<TeardownId> {
        let is_due = |row: &&Teardown| {
            row.account == *account
                && is_claimable(row)
                && row.lease.as_ref().is_none_or(|lease| lease.until <= now)
                && row.next_attempt_at.is_none_or(|at| at <= now)
                && row.not_before.is_none_or(|at| at <= now)
        };
        let mut rows: Vec<_> = self.teardowns.values().filter(is_due).collect();
        rows.sort_by_key(|row| rules::claim_order(row));
        rows.into_iter().map(|row| row.id).collect()
    }

    fn expire_pauses(&mut self, now: Timestamp) {
        let expired: Vec<AccountName> = self
            .accounts
            .values_mut()
            .filter_map(|row| stops::expire_pause(row, now).then(|| row.name.clone()))
            .collect();
        for name in expired {
            self.set_clocks(&name, now);
            self.wake(&name, &[Reason::Paused], now);
        }
    }

    pub(super) fn next_due(&self, accounts: &[AccountName], now: Timestamp) -> Option<Timestamp> {
        let every = self.every();
        let of_account = |name: &AccountName| {
            let rows = || self.teardowns.values().filter(|r| r.account == *name && is_claimable(r));
            let lease_ends = rows().filter_map(|row| Some(row.lease.as_ref()?.until));
            let leased_until = lease_ends.filter(|until| now < *until).max();
            let opens = stops::next_opens_at(&self.account(name), &every, leased_until)?;
            rows()
                .map(|row| {
                    let times = [
                        row.next_attempt_at,
                        row.not_before,
                        row.lease.as_ref().map(|lease| lease.until),
                    ];
                    times.into_iter().flatten().max().unwrap_or(now).max(opens)
                })
                .min()
        };
        accounts.iter().filter_map(of_account).min()
    }

    pub(super) fn renew(
        &mut self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Vec<TeardownId> {
        let mut lost = Vec::new();
        for (id, fence) in leases {
            let held = self.teardowns.get_mut(id).filter(|row| row.fence == *fence);
            let lease = held.and_then(|row| row.lease.as_mut()).filter(|l| l.owner == owner);
            match lease {
                Some(lease) => lease.until = millis(after(now, ttl)),
                None => lost.push(*id),
            }
        }
        lost
    }

    pub(super) fn release(&mut self, id: TeardownId, fence: Fence, now: Timestamp) -> Result<()> {
        let mut row = self.row(id)?;
        rules::check_lease(&row, fence)?;
        row.lease = None;
        rules::wake(&mut row, now);
        self.save(row);
        Ok(())
    }

    // ---- budget --------------------------------------------------------------------------------

    pub(super) fn reserve(
        &mut self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Vec<Grant> {
        let closed_until = self.account(account).throttled_until;
        if let Some(until) = closed_until.filter(|until| now < *until) {
            return window::closed(asks, until);
        }
        let budget = &window::paced(budget, closed_until, now);
        let own = |send: &&mut Send| send.account == *account;
        let latest = self.sends.iter_mut().filter(own).map(|send| send.at).max();
        let clock = window::clock(now, latest, budget.window);
        if clock.set_back {
            self.sends.iter_mut().filter(own).for_each(|s| s.at = s.at.min(clock.now));
        }
        let oldest = before(clock.now, budget.window);
        self.sends.retain(|send| send.account != *account || send.at >= oldest);

        let mut used = window::Used::default();
        for send in self.sends.iter().filter(|send| send.account == *account) {
            used.add(send.bucket, send.sends);
        }
        let mut grants = window::grant(asks, &mut used, budget);
        self.sends.extend(grants.iter().filter(|g| g.writes + g.reads > 0).map(|grant| Send {
            account: account.clone(),
            bucket: grant.bucket,
            at: clock.now,
            sends: u64::from(grant.writes) + u64::from(grant.reads),
        }));
        for (ask, grant) in asks.iter().zip(&mut grants) {
            for (scope, limit) in window::blocked_by(ask, grant, &used, budget) {
                let blocking = window::blocking(&self.entries(account, scope), limit);
                let opens = window::opens_at(blocking, budget.window, clock.now);
                window::put_off(grant, scope, opens);
            }
        }
        grants
    }

    fn entries(&self, account: &AccountName, scope: Bucket) -> Vec<(Timestamp, u64)> {
        let own = |s: &&Send| s.account == *account && scope.covers(s.bucket);
        let mut entries: Vec<_> =
            self.sends.iter().filter(own).map(|send| (send.at, send.sends)).collect();
        entries.sort_unstable();
        entries
    }

    // ---- upkeep --------------------------------------------------------------------------------

    pub(super) fn purge(&mut self, finished: Timestamp, history: Timestamp) -> u64 {
        let rows = self.teardowns.len();
        self.teardowns.retain(|_, row| {
            !row.state.is_terminal() || row.finished_at.unwrap_or(row.updated_at) >= finished
        });
        let rows_left = &self.teardowns;
        self.purchases.retain(|id, _| rows_left.contains_key(id));
        self.faults.retain(|filed| rows_left.contains_key(&filed.fault.teardown_id));
        self.acks.retain(|id, _| rows_left.contains_key(id));
        self.requests.retain(|request| request.created_at >= history);
        self.transitions
            .retain(|record| rows_left.contains_key(&record.teardown_id) || record.at >= history);
        let tenants: BTreeSet<_> =
            rows_left.values().map(|row| (row.account.clone(), row.tenant_id)).collect();
        self.commands.retain(|command| {
            command.settled_at.is_none_or(|at| at >= history)
                || rows_left.contains_key(&command.teardown_id)
                || (rules::counts_as_deletion(command)
                    && tenants.contains(&(command.account.clone(), command.tenant_id)))
        });
        (rows - self.teardowns.len()) as u64
    }
}

/// Whether nothing but times stands between a row and a claim.
fn is_claimable(row: &Teardown) -> bool {
    !row.state.is_terminal() && row.hold.is_none()
}

fn queued(id: TeardownId, new: &NewTeardown, now: Timestamp) -> Teardown {
    Teardown {
        id,
        account: new.account.clone(),
        tenant_id: new.tenant_id,
        expected_domain: new.expected_domain.clone(),
        domain: None,
        batch: new.batch.clone(),
        priority: new.priority,
        note: new.note.clone(),
        requested_by: new.requested_by.clone(),
        created_at: now,
        run_since: now,
        try_anyway: false,
        not_before: new.not_before.map(millis_up),
        state: State::Queued,
        state_since: now,
        reason: None,
        reason_text: None,
        hold: None,
        attempts: 0,
        polls: 0,
        rounds: 0,
        next_attempt_at: None,
        eligible_since: None,
        eligible_used: Duration::ZERO,
        suspects: Vec::new(),
        cross_checked: None,
        uncancellable_at: None,
        approval: None,
        lease: None,
        fence: Fence(0),
        updated_at: now,
        finished_at: None,
    }
}
