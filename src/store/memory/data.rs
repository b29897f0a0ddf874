//! The tables in memory, and the queue.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::budget::Send;
use super::reload::Reloads;
use crate::core::account::Account;
use crate::core::command::Command;
use crate::core::fault::FailedCall;
use crate::core::ids::{AccountName, TeardownId, TenantId};
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::{NewTeardown, State, Teardown};
use crate::store::admission;
use crate::store::protect::check_enqueue;
use crate::store::rules::{self, Event, millis, millis_up};
use crate::store::{
    Ack, DaemonInfo, EnqueueOutcome, FAULTS_KEPT, Filter, KnownCustomers, RequestRecord, Result,
    StoreError, StoredFault, StoredPurchase, TransitionRecord,
};

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
        rules::check_named_domains(rows, |row| {
            let id = self.active(&row.account, row.tenant_id)?;
            Some((id, self.teardowns.get(&id)?.expected_domain.as_deref()))
        })?;
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
                || (admission::counts_as_deletion(command)
                    && tenants.contains(&(command.account.clone(), command.tenant_id)))
        });
        (rows - self.teardowns.len()) as u64
    }
}

fn queued(id: TeardownId, new: &NewTeardown, now: Timestamp) -> Teardown {
    Teardown {
        expected_domain: new.expected_domain.clone(),
        batch: new.batch.clone(),
        priority: new.priority,
        note: new.note.clone(),
        requested_by: new.requested_by.clone(),
        not_before: new.not_before.map(millis_up),
        ..Teardown::fresh(id, new.account.clone(), new.tenant_id, now)
    }
}
