//! The request budget's words (invariant 9). The arithmetic is the store's, because reservations
//! must survive a restart and be shared by replicas.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::ids::TenantId;

/// Classes of requests that the API counts apart (500 a minute each: resource pages of
/// MicrosoftDocs/partner-center-sdk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Customers, entitlements and profiles.
    Customer,
    /// Orders.
    Order,
    /// Subscriptions and their Azure entitlements.
    Subscription,
}

impl Resource {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Order, Self::Subscription];

    /// The stable name used in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Order => "order",
            Self::Subscription => "subscription",
        }
    }
}

/// What a request counts in. The API counts some calls for the partner and others for the partner and
/// the customer they name, and does not say which (`api-throttling-guidance.md`): so whatever names a
/// customer counts for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    /// The class.
    pub resource: Resource,
    /// The customer named by the path, if it names one.
    pub customer: Option<TenantId>,
}

impl Bucket {
    /// Of a call that is about the account as a whole.
    pub const fn of_account(resource: Resource) -> Self {
        Self { resource, customer: None }
    }

    /// Of a call below `/v1/customers/{customer}`.
    pub const fn of_customer(resource: Resource, customer: TenantId) -> Self {
        Self { resource, customer: Some(customer) }
    }

    /// Whether what counts in the other one counts in this one too.
    pub fn covers(self, other: Self) -> bool {
        self.resource == other.resource
            && self.customer.is_none_or(|own| other.customer == Some(own))
    }
}

/// A wish to send requests now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What they count in.
    pub bucket: Bucket,
    /// How many writes.
    pub writes: u32,
    /// How many reads.
    pub reads: u32,
}

/// How much of one class a window may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests in a window.
    pub requests: u32,
    /// Of these, how many reads may use; the rest is left to writes, so that a DELETE need not wait
    /// until what it rests on is stale.
    pub reads: u32,
}

impl Limit {
    /// A limit that keeps a fifth for writes. There is at least one request of either kind.
    pub const fn of(requests: u32) -> Self {
        let requests = if requests == 0 { 1 } else { requests };
        Self { requests, reads: requests - requests / 5 }
    }
}

/// The request budget of an account (invariant 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// No window of this length may hold more reservations than the limits say.
    pub window: Duration,
    /// Of one class, whatever customer they name.
    pub account: Limit,
    /// Of one class and one customer.
    pub customer: Limit,
}

/// The answer to an [`Ask`]: writes are granted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// What they count in.
    pub bucket: Bucket,
    /// How many writes may go out within the next second.
    pub writes: u32,
    /// How many reads may go out within the next second.
    pub reads: u32,
    /// When to ask again for what was not granted.
    pub retry_at: Option<Timestamp>,
    /// Whether it is the customer's own part that is full: then the others of the account go on.
    pub own_part_is_full: bool,
}

/// After a closure the pace comes back gradually: a quarter of the budget at once, all of it after
/// this long.
const RECOVERY: Duration = Duration::from_secs(300);

/// So many reads of one class are reckoned for each tenant that is worked on: what one takes from its
/// first look to the proof (`docs/api-facts.md` counts them). With more tenants, what each has read
/// grows stale while it waits for the budget, all of them begin anew, and none gets to its DELETE.
const READS_OF_A_TENANT: f64 = 6.0;

/// The share of the budget in force when the account's latest closure ended at `reopened`: from a
/// quarter to 1.0.
pub fn pace(reopened: Option<Timestamp>, now: Timestamp) -> f64 {
    let open_for = reopened.map_or(RECOVERY, |at| {
        Duration::try_from(now.duration_since(at)).unwrap_or_default().min(RECOVERY)
    });
    0.25 + 0.75 * open_for.as_secs_f64() / RECOVERY.as_secs_f64()
}

/// How many of `slots` tenants may be worked on at once under a budget of so many reads a minute. At
/// least one. Each 429 throws away what the tenants at work have read and not yet acted on, so after
/// one there are fewer of them than in proportion to the pace: under faults that took
/// fewer calls than in proportion, and less time than both that and the square of the pace.
pub fn capacity(slots: usize, reads_per_minute: u32, pace: f64) -> usize {
    let served = (f64::from(reads_per_minute) / READS_OF_A_TENANT).min(slots as f64);
    ((served * pace * (1.0 + pace) / 2.0) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_comes_back_in_five_minutes() {
        let at = |second: i64| Timestamp::from_second(1_750_000_000 + second).unwrap();
        assert_eq!(pace(None, at(0)), 1.0);
        // Still closed, just reopened, half-way, over.
        let paces = [-60, 0, 150, 300, 9000].map(|second| pace(Some(at(0)), at(second)));
        assert_eq!(paces, [0.25, 0.25, 0.625, 1.0, 1.0]);
    }

    #[test]
    fn no_more_tenants_are_taken_on_than_the_budget_serves() {
        assert_eq!(capacity(64, 600, 1.0), 64);
        assert_eq!(capacity(64, 240, 1.0), 40);
        assert_eq!(capacity(64, 240, 0.25), 6);
        assert_eq!(capacity(20, 240, 0.25), 3);
        assert_eq!(capacity(64, 1, 0.25), 1);
    }
}
