//! Claiming rows, and the leases on them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::data::Data;
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::reason::Reason;
use crate::core::teardown::{Lease, Teardown};
use crate::store::rules::{self, after, millis};
use crate::store::{ClaimRequest, Claimed, Result, stops};

impl Data {
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
        let unsettled: BTreeSet<TenantId> = self
            .commands
            .iter()
            .filter(|command| command.is_unsettled() && command.account == *account)
            .map(|command| command.tenant_id)
            .collect();
        rows.sort_by_key(|row| rules::claim_order(row, unsettled.contains(&row.tenant_id)));
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
}

/// Whether nothing but times stands between a row and a claim.
fn is_claimable(row: &Teardown) -> bool {
    !row.state.is_terminal() && row.hold.is_none()
}
