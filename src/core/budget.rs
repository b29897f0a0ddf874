//! The request budget's words (invariant 9). The arithmetic is the store's, because reservations
//! must survive a restart and be shared by replicas.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

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

/// A wish to send requests now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which class.
    pub resource: Resource,
    /// How many writes.
    pub writes: u32,
    /// How many reads.
    pub reads: u32,
}

/// The request budget of an account (invariant 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// No window of this length may hold more than `requests` reservations of one class.
    pub window: Duration,
    /// Requests of one class in a window.
    pub requests: u32,
    /// Of these, how many reads may use; the rest is left to writes, so that a DELETE need not wait
    /// until what it rests on is stale.
    pub reads: u32,
}

/// The answer to an [`Ask`]: writes are granted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Which class.
    pub resource: Resource,
    /// How many writes may go out within the next second.
    pub writes: u32,
    /// How many reads may go out within the next second.
    pub reads: u32,
    /// When to ask again for what was not granted.
    pub retry_at: Option<Timestamp>,
}
