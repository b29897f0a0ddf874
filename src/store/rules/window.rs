//! Arithmetic of the request budget (invariant 9), without any I/O.
//!
//! A reservation counts until it is *more* than a window old, so that times cut to the millisecond
//! never let one in too early.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::budget::{Ask, Bucket, Budget, Grant, Limit, pace};
use crate::store::model::time::after;

/// Grants nothing: the account is closed until then.
pub(in crate::store) fn closed(asks: &[Ask], until: Timestamp) -> Vec<Grant> {
    let nothing = |ask: &Ask| Grant { retry_at: Some(until), ..grant_of(ask) };
    asks.iter().map(nothing).collect()
}

/// Of an ask, nothing yet.
const fn grant_of(ask: &Ask) -> Grant {
    Grant { bucket: ask.bucket, writes: 0, reads: 0, retry_at: None, own_part_is_full: false }
}

/// Puts into a grant what kept it small: when there is more to be had of this scope.
pub(in crate::store) fn put_off(grant: &mut Grant, scope: Bucket, opens: Timestamp) {
    grant.retry_at = grant.retry_at.max(Some(opens));
    grant.own_part_is_full |= scope.customer.is_some();
}

/// The budget in force when the account's latest closure ended at `reopened`.
pub fn paced(budget: &Budget, reopened: Option<Timestamp>, now: Timestamp) -> Budget {
    let share = pace(reopened, now);
    // At least one request, so that the account always moves.
    let part = |whole: u32| ((f64::from(whole) * share) as u32).max(1);
    let paced = |full: Limit| Limit { requests: part(full.requests), reads: part(full.reads) };
    Budget {
        window: budget.window,
        account: paced(budget.account),
        customer: paced(budget.customer),
    }
}

/// What the window holds already: under a bucket without a customer all of its class.
#[derive(Debug, Default)]
pub(in crate::store) struct Used(BTreeMap<Bucket, u64>);

impl Used {
    /// Counts requests of a bucket.
    pub(in crate::store) fn add(&mut self, bucket: Bucket, sends: u64) {
        for scope in scopes(bucket) {
            *self.0.entry(scope).or_default() += sends;
        }
    }

    fn of(&self, scope: Bucket) -> u64 {
        self.0.get(&scope).copied().unwrap_or_default()
    }

    /// Takes as many as still fit every limit.
    fn take(&mut self, bucket: Bucket, wanted: u32, limit: impl Fn(Bucket) -> u32) -> u32 {
        let free = |scope| u64::from(limit(scope)).saturating_sub(self.of(scope));
        let free = scopes(bucket).map(free).min().unwrap_or_default();
        let taken = wanted.min(u32::try_from(free).unwrap_or(u32::MAX));
        self.add(bucket, u64::from(taken));
        taken
    }
}

/// Everything that a request counts in: its class, and the customer's part of that.
fn scopes(bucket: Bucket) -> impl Iterator<Item = Bucket> {
    let own = bucket.customer.is_some().then_some(bucket);
    own.into_iter().chain([Bucket::of_account(bucket.resource)])
}

fn limit_of(scope: Bucket, budget: &Budget) -> Limit {
    if scope.customer.is_some() { budget.customer } else { budget.account }
}

fn limit_of_writes(scope: Bucket, budget: &Budget) -> u32 {
    limit_of(scope, budget).requests
}

fn limit_of_reads(scope: Bucket, budget: &Budget) -> u32 {
    let limit = limit_of(scope, budget);
    limit.reads.min(limit.requests)
}

/// Grants what fits: the writes of all, in the order of the asks, and then the reads.
pub(in crate::store) fn grant(asks: &[Ask], used: &mut Used, budget: &Budget) -> Vec<Grant> {
    let mut grants: Vec<Grant> = asks
        .iter()
        .map(|ask| {
            let writes = used.take(ask.bucket, ask.writes, |scope| limit_of_writes(scope, budget));
            Grant { writes, ..grant_of(ask) }
        })
        .collect();
    for (ask, grant) in asks.iter().zip(&mut grants) {
        grant.reads = used.take(ask.bucket, ask.reads, |scope| limit_of_reads(scope, budget));
    }
    grants
}

/// What keeps the rest of an ask from being granted: each full scope, and below how much use of it
/// something more could be granted. Empty if all was granted.
pub(in crate::store) fn blocked_by(
    ask: &Ask,
    grant: &Grant,
    used: &Used,
    budget: &Budget,
) -> Vec<(Bucket, u32)> {
    let limit = if grant.writes < ask.writes {
        limit_of_writes
    } else if grant.reads < ask.reads {
        limit_of_reads
    } else {
        return Vec::new();
    };
    scopes(ask.bucket)
        .map(|scope| (scope, limit(scope, budget)))
        .filter(|(scope, limit)| used.of(*scope) >= u64::from(*limit))
        .collect()
}

/// When that reservation has left the window. Without one nothing blocks but the limit itself.
pub(in crate::store) fn opens_at(
    blocking: Option<Timestamp>,
    window: Duration,
    now: Timestamp,
) -> Timestamp {
    match blocking {
        Some(at) => after(after(at, window), Duration::from_millis(1)),
        None => after(now, window),
    }
}

#[cfg(test)]
mod tests {
    use crate::core::budget::Resource;
    use crate::core::ids::TenantId;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    const BUDGET: Budget = Budget {
        window: Duration::from_secs(61),
        account: Limit { requests: 10, reads: 8 },
        customer: Limit { requests: 5, reads: 4 },
    };

    fn of(customer: u128) -> Bucket {
        Bucket::of_customer(Resource::Order, TenantId::new(uuid::Uuid::from_u128(customer)))
    }

    #[test]
    fn invariant_9_the_pace_comes_back_gradually_after_a_closure() {
        let limit = |requests, reads| Limit { requests, reads };
        let full = Budget { account: limit(100, 80), customer: limit(40, 20), ..BUDGET };
        let parts = |seconds: i64| {
            let Budget { account, customer, .. } = paced(&full, Some(at(0)), at(seconds * 1000));
            [account.requests, account.reads, customer.requests, customer.reads]
        };
        assert_eq!(paced(&full, None, at(0)), full);
        assert_eq!([parts(0), parts(100)], [[25, 20, 10, 5], [50, 40, 20, 10]]);
        assert_eq!([parts(299), parts(300)], [[99, 79, 39, 19], [100, 80, 40, 20]]);
        let tiny = Budget { account: limit(1, 1), customer: limit(1, 1), ..BUDGET };
        assert_eq!(paced(&tiny, Some(at(0)), at(0)), tiny);
    }

    #[test]
    fn invariant_9_writes_go_first_and_reads_leave_them_room() {
        let mut used = Used::default();
        let bucket = Bucket::of_account(Resource::Order);
        used.add(bucket, 5);
        let asks = [Ask { bucket, writes: 2, reads: 9 }];
        let grants = grant(&asks, &mut used, &BUDGET);
        assert_eq!((grants[0].writes, grants[0].reads), (2, 1));
        assert_eq!(used.of(bucket), 8);
        assert_eq!(blocked_by(&asks[0], &grants[0], &used, &BUDGET), [(bucket, 8)]);
    }

    #[test]
    fn invariant_9_a_customer_gets_no_more_than_its_part_and_leaves_the_rest_to_others() {
        let mut used = Used::default();
        let asks = [(1, 1, 9), (2, 0, 9), (3, 2, 9)].map(|(customer, writes, reads)| Ask {
            bucket: of(customer),
            writes,
            reads,
        });
        let grants = grant(&asks, &mut used, &BUDGET);
        let granted: Vec<_> = grants.iter().map(|g| (g.writes, g.reads)).collect();
        // Every write, then the reads of the first two up to their own limit and the account's.
        assert_eq!(granted, [(1, 3), (0, 2), (2, 0)]);
        let blocked = |n: usize| blocked_by(&asks[n], &grants[n], &used, &BUDGET);
        let class = Bucket::of_account(Resource::Order);
        assert_eq!(blocked(0), [(of(1), 4), (class, 8)]);
        assert_eq!(blocked(1), [(class, 8)]);
    }

    #[test]
    fn invariant_9_a_reservation_counts_for_more_than_the_whole_window() {
        assert_eq!(opens_at(Some(at(0)), BUDGET.window, at(2000)), at(61_001));
        assert_eq!(opens_at(None, BUDGET.window, at(2000)), at(63_000));
    }
}
