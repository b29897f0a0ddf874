//! What a reconcile pass has seen of the world: the input of the decision, besides what is stored.

use jiff::Timestamp;

use super::fault::Trouble;
use super::inventory::{Customer, Inventory};

/// What reading the customer by id showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerSeen {
    /// A customer, as read.
    Present(Customer),
    /// A structured fault that says there is no such customer (60003, 1000) or no relationship with
    /// it (20002, 900159). A bare 404 of a gateway is never this (invariant 8).
    Gone {
        /// Microsoft's error code.
        code: String,
        /// Microsoft's text.
        text: String,
    },
}

/// A fact and when the read that brought it was *started*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<T> {
    /// The fact.
    pub fact: T,
    /// Start of the read.
    pub at: Timestamp,
}

/// The account's complete customer list, reduced to what the guards and the proof need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// How many customers the account has.
    pub customers: usize,
    /// The entry of the tenant in question, if the list holds it.
    pub entry: Option<Customer>,
    /// Whether the absence of an entry can be relied on: the list came in one page, or two complete
    /// lists in a row agree (paging shifts while others are deleted).
    pub conclusive: bool,
}

/// What one pass has seen. Everything is `None` until it was read in this pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// The customer by id.
    pub customer: Option<Seen<CustomerSeen>>,
    /// The account's customer list.
    pub census: Option<Seen<Census>>,
    /// The inventory; its own `read_at` says how old it is.
    pub inventory: Option<Inventory>,
    /// The first read that brought no usable answer, if any: the pass ended there.
    pub trouble: Option<Trouble>,
}

/// A read that the machine wants before it can decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Read {
    /// `GET /v1/customers/{id}`.
    Customer,
    /// The complete customer list of the account, started no earlier than the given time.
    Census {
        /// A list whose reading began before this does not count.
        not_before: Option<Timestamp>,
    },
    /// Orders, subscriptions, Azure entitlements and entitlements.
    Inventory,
    /// Only the lists in which something is still unfinished; the rest of the inventory is kept.
    Progress {
        /// Whether the orders are wanted.
        orders: bool,
        /// Whether the subscriptions are wanted.
        subscriptions: bool,
        /// Azure plans (by subscription id) whose Azure subscriptions are wanted.
        plans: Vec<String>,
    },
}
