//! In memory: deny entries, acknowledgements, customers and the audit.

use jiff::Timestamp;

use super::data::Data;
use crate::core::ids::{AccountName, TeardownId};
use crate::core::protection::Protection;
use crate::core::teardown::Teardown;
use crate::store::audit::merged;
use crate::store::rules::millis;
use crate::store::{
    Ack, AuditEntry, AuditRange, CustomersRead, Filter, KnownCustomer, KnownCustomers,
    OperatorRequest, RequestEffect, protect, requests,
};

impl Data {
    pub(super) fn protect(
        &mut self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Vec<RequestEffect> {
        let entries = protect::wanted(request, now);
        let mut effects = Vec::new();
        for entry in &entries {
            let standing = self.protections.iter().find(|p| key(p) == key(entry));
            effects.push(protect::set(entry, standing));
            if standing.is_none() {
                self.protections.push(entry.clone());
            }
        }
        self.protections.sort_by_key(key);
        let active = Filter { account: request.filter.account.clone(), ..Filter::active() };
        let abort = requests::abort_for_protection(request);
        let concerned = |row: &Teardown| protect::concern(&entries, row);
        for row in self.list(&active).into_iter().filter(concerned) {
            effects.push(self.about_row(row, &abort, now));
        }
        effects
    }

    pub(super) fn unprotect(&mut self, request: &OperatorRequest) -> Vec<RequestEffect> {
        let account = protect::scope(request);
        let lift = |subject| {
            let before = self.protections.len();
            self.protections.retain(|p| p.account != account || p.subject != subject);
            protect::lifted(account.clone(), &subject, self.protections.len() < before)
        };
        request.subjects().map(lift).collect()
    }

    pub(super) fn acknowledge(&mut self, id: TeardownId, request: &OperatorRequest, at: Timestamp) {
        let (actor, reason) = (request.actor.clone(), request.reason.clone());
        self.acks.insert(id, Ack { id, at, actor, reason });
    }

    pub(super) fn note_customers(&mut self, account: &AccountName, read: &CustomersRead) {
        let read_at = millis(read.at);
        let known = self.customers.remove(account);
        if let Some(newer) = known.as_ref().filter(|known| read_at < known.read_at) {
            self.customers.insert(account.clone(), newer.clone());
            return;
        }
        let mut customers = known.map(|known| known.customers).unwrap_or_default();
        if read.conclusive {
            customers.retain(|c| read.customers.iter().any(|r| r.tenant_id == c.tenant_id));
        }
        for listed in &read.customers {
            match customers.iter_mut().find(|c| c.tenant_id == listed.tenant_id) {
                Some(known) => known.domain.clone_from(&listed.domain),
                None => customers.push(KnownCustomer {
                    tenant_id: listed.tenant_id,
                    domain: listed.domain.clone(),
                    first_seen_at: read_at,
                }),
            }
        }
        customers.sort_by_key(|customer| customer.tenant_id);
        let now_known = KnownCustomers { read_at, count: read.count, customers };
        self.customers.insert(account.clone(), now_known);
    }

    pub(super) fn audit(&self, range: &AuditRange) -> Vec<AuditEntry> {
        let about = |name: &AccountName| range.account.as_ref().is_none_or(|only| only == name);
        let requests = self.requests.iter().filter(|request| {
            request.account.as_ref().is_none_or(|name| about(&AccountName::new(name)))
        });
        let moves = self.transitions.iter().filter(|transition| about(&transition.account));
        let commands = self.commands.iter().filter(|command| about(&command.account));
        let entries = requests
            .cloned()
            .map(|request| AuditEntry::Request(Box::new(request)))
            .chain(moves.cloned().map(AuditEntry::Transition))
            .chain(commands.cloned().map(|command| AuditEntry::Command(Box::new(command))));
        merged(
            entries.filter(|entry| range.since <= entry.at() && entry.at() < range.until).collect(),
        )
    }

    pub(super) fn audit_begins(&self) -> Option<Timestamp> {
        let everything = AuditRange { since: Timestamp::MIN, until: Timestamp::MAX, account: None };
        self.audit(&everything).first().map(AuditEntry::at)
    }
}

fn key(entry: &Protection) -> (AccountName, &'static str, String) {
    (entry.account.clone(), entry.subject.kind(), entry.subject.to_string())
}
