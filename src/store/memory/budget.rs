//! The request budget.

use jiff::Timestamp;

use super::data::Data;
use crate::core::budget::{Ask, Bucket, Budget, Grant};
use crate::core::ids::AccountName;
use crate::store::rules::before;
use crate::store::window;

/// A reservation of sends.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) account: AccountName,
    pub(super) bucket: Bucket,
    pub(super) at: Timestamp,
    pub(super) sends: u64,
}

impl Data {
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
}
