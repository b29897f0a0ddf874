//! Approvals and the arming of accounts, in memory.

use jiff::Timestamp;

use super::data::Data;
use crate::core::approval;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::AccountName;
use crate::core::teardown::Teardown;
use crate::store::RequestEffect;
use crate::store::consent::{self, ApproveRequest, ArmRequest};

impl Data {
    pub(super) fn approve(
        &mut self,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> Vec<RequestEffect> {
        let rows = self.list(&request.filter);
        rows.into_iter().map(|row| self.approve_row(row, request, now)).collect()
    }

    fn approve_row(
        &mut self,
        mut row: Teardown,
        request: &ApproveRequest,
        now: Timestamp,
    ) -> RequestEffect {
        let stored: Vec<_> =
            self.purchases.get(&row.id).into_iter().flat_map(|p| p.values().cloned()).collect();
        let runs = self.account_runs(&row.account, now);
        let (effect, event) = consent::approve(&mut row, request, &stored, runs, now);
        if let Some(event) = event {
            self.record_all(&row, vec![event], now);
            self.save(row);
        }
        effect
    }

    /// How many teardowns of the account have not ended and have no approval that counts; 0 where
    /// the policy does not ask for it.
    pub(super) fn unapproved(&self, account: &AccountName, policy: &SafetyPolicy) -> usize {
        if policy.hold_batch_over.is_zero() {
            return 0;
        }
        let open = self.teardowns.values().filter(|row| {
            row.account == *account
                && !row.state.is_terminal()
                && approval::counting(row, policy.approve_by_other).is_err()
        });
        open.count()
    }

    pub(super) fn arm(&mut self, request: &ArmRequest, now: Timestamp) -> RequestEffect {
        let account = self.account_mut(&request.account);
        let effect = consent::arm(account, request, now);
        let armed = account.armed.is_some();
        let runs = self.account_runs(&request.account, now);
        let rows: Vec<Teardown> = self
            .teardowns
            .values()
            .filter(|row| armed && row.account == request.account)
            .cloned()
            .collect();
        for mut row in rows {
            if let Some(event) = consent::account_was_armed(&mut row, &request.actor, runs, now) {
                self.record_all(&row, vec![event], now);
                self.save(row);
            }
        }
        effect
    }
}
