//! Operators' requests in memory, and what follows from them for many rows.

use jiff::Timestamp;

use super::data::Data;
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::requests::{self, Surroundings};
use crate::store::{OperatorRequest, RequestEffect, RequestRecord, Verb, rules, stops};

impl Data {
    pub(super) fn request(
        &mut self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Vec<RequestEffect> {
        let effects = self.apply(request, now);
        let record = RequestRecord::of(request, requests::answer(&effects), now);
        self.keep(record);
        effects
    }

    pub(super) fn keep(&mut self, record: RequestRecord) {
        self.requests.push(RequestRecord { id: self.requests.len() as i64 + 1, ..record });
    }

    fn apply(&mut self, request: &OperatorRequest, now: Timestamp) -> Vec<RequestEffect> {
        match request.verb {
            Verb::Pause | Verb::Resume => {
                vec![self.about_account(&stops::scope(request), request, now)]
            }
            Verb::Unhalt => {
                let halted = self.accounts.values().filter(|row| row.halted.is_some());
                let names: Vec<AccountName> = match &request.filter.account {
                    Some(name) => vec![name.clone()],
                    None => halted.map(|row| row.name.clone()).collect(),
                };
                names.iter().map(|name| self.about_account(name, request, now)).collect()
            }
            Verb::Protect => self.protect(request, now),
            Verb::Unprotect => self.unprotect(request),
            Verb::Hold | Verb::Release | Verb::Abort | Verb::Retry | Verb::Ack | Verb::Set => {
                let rows = self.list(&request.filter);
                rows.into_iter().map(|row| self.about_row(row, request, now)).collect()
            }
        }
    }

    fn about_account(
        &mut self,
        name: &AccountName,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> RequestEffect {
        let effect = stops::act(self.account_mut(name), request, now);
        if effect.applied {
            self.set_clocks(name, now);
            if let Some(reason) = stops::wakes(request.verb) {
                self.wake(name, &[reason], now);
            }
        }
        effect
    }

    pub(super) fn about_row(
        &mut self,
        mut row: Teardown,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> RequestEffect {
        let commands = self.commands_of(&row.account, row.tenant_id);
        let around = Surroundings {
            commands: &commands,
            active: self.active(&row.account, row.tenant_id).filter(|id| *id != row.id),
            account_runs: self.account_runs(&row.account, now),
            protections: &self.protections,
        };
        let (effect, event) = requests::act(&mut row, request, &around, now);
        if let Some(event) = event {
            self.record_all(&row, vec![event], now);
            if row.state.is_terminal() {
                self.withdraw_unsent(&row, now);
            }
            if request.verb == Verb::Ack {
                self.acknowledge(row.id, request, now);
            }
            self.save(row);
        }
        effect
    }

    pub(super) fn check_accounts(&mut self, known: &[AccountName], now: Timestamp) -> u64 {
        let rows: Vec<Teardown> =
            self.teardowns.values().filter(|row| !row.state.is_terminal()).cloned().collect();
        let mut changed = 0;
        for mut row in rows {
            let runs = self.account_runs(&row.account, now);
            let is_known = known.contains(&row.account);
            if let Some(event) = rules::check_known(&mut row, is_known, runs, now) {
                self.record_all(&row, vec![event], now);
                self.save(row);
                changed += 1;
            }
        }
        changed
    }

    /// Starts and stops the clocks of the rows of an account, or of every row.
    pub(super) fn set_clocks(&mut self, name: &AccountName, now: Timestamp) {
        let (accounts, every) = (self.accounts.clone(), self.every());
        for row in self.teardowns.values_mut().filter(|row| concerns(name, row)) {
            // An account without a row has no stops of its own.
            let account_row = accounts.get(&row.account).unwrap_or(&every);
            rules::set_clock(row, rules::runs(account_row, &every, now), now);
        }
    }

    /// Makes the rows of an account, or every row, due that wait for one of these reasons.
    pub(super) fn wake(&mut self, name: &AccountName, reasons: &[Reason], now: Timestamp) {
        let waits = |row: &&mut Teardown| {
            concerns(name, row)
                && !row.state.is_terminal()
                && row.lease.is_none()
                && row.reason.is_some_and(|reason| reasons.contains(&reason))
        };
        self.teardowns.values_mut().filter(waits).for_each(|row| rules::wake(row, now));
    }
}

fn concerns(name: &AccountName, row: &Teardown) -> bool {
    *name == AccountName::every() || *name == row.account
}
