//! Commits, sends and answers in memory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::data::Data;
use crate::core::account::Proven;
use crate::core::command::{Answer, Command, Outcome};
use crate::core::gates::{self, SafetyPolicy, StoredFacts, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId};
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::admission::{self, Admission};
use crate::store::rules;
use crate::store::{
    Commit, Committed, PurchaseRecord, PurchasesRead, Result, StoreError, StoredPurchase, stops,
};

impl Data {
    pub(super) fn commit(&mut self, commit: &Commit<'_>, now: Timestamp) -> Result<Committed> {
        let mut row = self.row(commit.teardown)?;
        rules::check_commit(&row, commit)?;
        for (id, outcome, _) in &commit.settled {
            admission::check_settle(self.command(*id)?, *outcome)?;
        }
        for command in &commit.commands {
            if self.command(command.id).is_ok() {
                return Err(StoreError::Refused(format!("command {} stands already", command.id)));
            }
        }

        for (id, outcome, text) in &commit.settled {
            self.settle(*id, *outcome, text, now);
        }
        if let Some(read) = &commit.purchases {
            merge_purchases(self.purchases.entry(row.id).or_default(), read, now);
        }
        let admission = self.admit(&row, commit, now);
        if !admission.admitted.is_empty() {
            let account = self.account_mut(&row.account);
            account.clock_high = Some(admission::high_clock(account, now));
            self.commands.extend(admission.admitted.iter().cloned());
        }
        let step = rules::apply(&mut row, commit, &admission, now);
        if rules::waits_for_an_outage(&row) && self.account(&row.account).trouble.is_none() {
            rules::outage_is_over(&mut row, now);
        }
        self.record_all(&row, step.events, now);
        let reason = rules::failure_reason(commit, &admission);
        self.append_faults(&row, reason, &commit.failures);
        if row.state.is_terminal() {
            self.withdraw_unsent(&row, now);
        }
        self.save(row.clone());
        if let Some((guard, text)) = step.halt {
            self.halt(&row.account, guard.as_str(), &text, now);
        }
        Ok(Committed { teardown: row, admitted: admission.admitted, verdict: admission.verdict })
    }

    fn admit(&self, row: &Teardown, commit: &Commit<'_>, now: Timestamp) -> Admission {
        let busy: BTreeSet<String> = self
            .commands
            .iter()
            .filter(|c| {
                c.is_unsettled() && c.account == row.account && c.tenant_id == row.tenant_id
            })
            .map(|c| c.intent.resource.clone())
            .collect();
        admission::admit(commit, &mut self.facts(row, None, commit.policy), busy, now)
    }

    /// What the gates ask of the store, without the command in question.
    fn facts(
        &self,
        row: &Teardown,
        question: Option<CommandId>,
        policy: &SafetyPolicy,
    ) -> StoredFacts {
        let asked = self.commands.iter().enumerate().find(|(_, c)| Some(c.id) == question);
        let (mut in_flight, mut on_its_way) = (Proven::default(), false);
        let mut deletions = Vec::new();
        let of_account =
            |(_, c): &(usize, &Command)| c.account == row.account && Some(c.id) != question;
        for (place, command) in self.commands.iter().enumerate().filter(of_account) {
            if admission::counts_as_deletion(command) {
                deletions.push(command.created_at);
            }
            let active = self.active(&command.account, command.tenant_id);
            let active = active.and_then(|id| self.teardowns.get(&id));
            if admission::blocks_others(command, active)
                && !admission::is_own_delete(command, row)
                && asked.is_none_or(|asked| admission::goes_first((place, command), asked))
            {
                let class = admission::proves(&command.intent);
                in_flight.write |= class.write;
                in_flight.reservation |= class.reservation;
                in_flight.delete |= class.delete;
                on_its_way |= command.tenant_id != row.tenant_id
                    && active.is_some_and(|other| other.lease.is_some());
            }
        }
        deletions.sort_unstable();
        StoredFacts {
            teardown: row.clone(),
            account: self.account(&row.account),
            every: self.every(),
            deletions,
            in_flight,
            on_its_way,
            resource_busy: false,
            unapproved: self.unapproved(&row.account, policy),
            protections: self.protections.clone(),
        }
    }

    fn command(&self, id: CommandId) -> Result<&Command> {
        self.commands
            .iter()
            .find(|command| command.id == id)
            .ok_or_else(|| StoreError::NotFound(format!("command {id}")))
    }

    fn command_mut(&mut self, id: CommandId) -> Result<&mut Command> {
        self.commands
            .iter_mut()
            .find(|command| command.id == id)
            .ok_or_else(|| StoreError::NotFound(format!("command {id}")))
    }

    fn settle(&mut self, id: CommandId, outcome: Outcome, text: &str, now: Timestamp) {
        let unsettled = self.commands.iter_mut().find(|c| c.id == id && c.is_unsettled());
        let Some(command) = unsettled else { return };
        command.outcome = Some(outcome);
        command.settled_at = Some(now);
        command.text = Some(text.to_owned());
        if outcome == Outcome::Accepted {
            let (account, class) = (command.account.clone(), admission::proves(&command.intent));
            self.prove(&account, class, now);
        }
    }

    /// Withdraws what was committed for the tenant and never sent.
    pub(super) fn withdraw_unsent(&mut self, row: &Teardown, now: Timestamp) {
        let unsent = self.commands.iter_mut().filter(|c| {
            c.account == row.account
                && c.tenant_id == row.tenant_id
                && c.is_unsettled()
                && !c.was_sent()
        });
        for command in unsent {
            command.outcome = Some(Outcome::Withdrawn);
            command.settled_at = Some(now);
        }
    }

    #[allow(clippy::too_many_arguments)] // the trait's own
    pub(super) fn begin_send(
        &mut self,
        id: CommandId,
        teardown: TeardownId,
        fence: Fence,
        correlation: Uuid,
        seen: &Observation,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<Verdict> {
        let mut row = self.row(teardown)?;
        rules::check_lease(&row, fence)?;
        let command = self.command(id)?.clone();
        admission::check_send(&command, &row)?;
        let facts = self.facts(&row, Some(id), policy);
        let verdict = gates::admit(&command.intent, &facts, seen, policy, now);
        let stored = self.command_mut(id)?;
        match &verdict {
            Verdict::Allow => {
                stored.sends += 1;
                stored.first_sent_at.get_or_insert(now);
                stored.last_sent_at = Some(now);
                stored.correlation_id = Some(correlation);
            }
            Verdict::Hold { .. } | Verdict::Halt { .. } if !stored.was_sent() => {
                stored.outcome = Some(Outcome::Withdrawn);
                stored.settled_at = Some(now);
            }
            Verdict::Hold { .. } | Verdict::Halt { .. } | Verdict::Wait { .. } | Verdict::Stale => {
            }
        }
        match &verdict {
            Verdict::Hold { guard, text } => {
                let event = rules::hold(&mut row, *guard, text, guard.as_str(), now);
                self.record_all(&row, event.into_iter().collect(), now);
                self.save(row);
            }
            Verdict::Halt { guard, text } => self.halt(&row.account, guard.as_str(), text, now),
            Verdict::Allow | Verdict::Wait { .. } | Verdict::Stale => {}
        }
        Ok(verdict)
    }

    pub(super) fn record_answer(
        &mut self,
        id: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()> {
        let command = self.command_mut(id)?;
        if command.outcome.is_none() && answer.outcome.is_some() {
            command.outcome = answer.outcome;
            command.settled_at = Some(now);
        }
        command.http_status = answer.http_status;
        command.ms_code.clone_from(&answer.ms_code);
        command.text.clone_from(&answer.text);
        if answer.outcome == Some(Outcome::Accepted) {
            let (account, class) = (command.account.clone(), admission::proves(&command.intent));
            self.prove(&account, class, now);
        }
        Ok(())
    }

    /// Stores that first steps were accepted, and wakes those who waited for that.
    fn prove(&mut self, account: &AccountName, class: Proven, now: Timestamp) {
        let stored = self.account_mut(account);
        let before = stored.proven;
        stored.proven.write |= class.write;
        stored.proven.reservation |= class.reservation;
        stored.proven.delete |= class.delete;
        if stored.proven != before {
            self.wake(account, &[Reason::Canary], now);
        }
    }

    pub(super) fn halt(&mut self, account: &AccountName, guard: &str, text: &str, now: Timestamp) {
        if stops::halt(self.account_mut(account), guard, text, now) {
            self.set_clocks(account, now);
        }
    }
}

fn merge_purchases(
    stored: &mut BTreeMap<String, StoredPurchase>,
    read: &PurchasesRead,
    now: Timestamp,
) {
    match read {
        PurchasesRead::All(records) => {
            let keys: BTreeSet<&str> = records.iter().map(|record| record.key.as_str()).collect();
            for purchase in stored.values_mut().filter(|p| !keys.contains(p.record.key.as_str())) {
                if purchase.record.status != "gone" {
                    "gone".clone_into(&mut purchase.record.status);
                    "inactive".clone_into(&mut purchase.record.standing);
                    purchase.record.blocked = None;
                    purchase.inactive_at = Some(now);
                }
            }
            for record in records {
                let known = stored.get(&record.key);
                let purchase = StoredPurchase {
                    record: PurchaseRecord {
                        cancellable_until: record.cancellable_until.map(rules::millis),
                        ..record.clone()
                    },
                    first_seen_at: known.map_or(now, |p| p.first_seen_at),
                    last_seen_at: now,
                    inactive_at: seen_inactive(record, now)
                        .or_else(|| known.and_then(|p| p.inactive_at)),
                };
                stored.insert(record.key.clone(), purchase);
            }
        }
        PurchasesRead::Some(records) => {
            for record in records {
                if let Some(known) = stored.get_mut(&record.key) {
                    known.record.status.clone_from(&record.status);
                    known.record.standing.clone_from(&record.standing);
                    known.last_seen_at = now;
                    known.inactive_at = seen_inactive(record, now).or(known.inactive_at);
                }
            }
        }
    }
}

fn seen_inactive(record: &PurchaseRecord, now: Timestamp) -> Option<Timestamp> {
    (record.standing == "inactive").then_some(now)
}
