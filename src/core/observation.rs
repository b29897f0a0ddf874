//! What a reconcile pass has seen of the world: the input of the decision, besides what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::fault::{Fault, Trouble};
use super::inventory::{AzureEntitlement, Customer, Entitlement, Order, Subscription};

/// What reading the customer by id showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerSeen {
    /// A customer, as read.
    Present(Customer),
    /// A structured fault that says there is no such customer (60003, 1000, 3000) or no relationship
    /// with it (20002, 900159), or another 404 of Partner Center's own. A 404 of a gateway is never
    /// this (invariant 8).
    Gone {
        /// Status and Microsoft's error code, such as `404/3000`.
        code: String,
        /// Microsoft's text.
        text: String,
        /// Whether the code says so by itself. If not, it counts only after a DELETE of ours: what is
        /// answered then is not documented.
        by_code: bool,
    },
}

impl CustomerSeen {
    /// Reads a fault that was answered instead of the customer.
    pub fn gone(fault: Fault, by_code: bool) -> Self {
        let code = fault.code.as_deref().unwrap_or("no code");
        Self::Gone { code: format!("{}/{code}", fault.status), text: fault.text, by_code }
    }
}

/// A fact, and of the read that brought it when it was *started* and how long the API took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<T> {
    /// The fact.
    pub fact: T,
    /// Start of the read.
    pub at: Timestamp,
    /// How long its requests were on their way. The time that one of them waited for the own request
    /// budget is left out, also between two pages of a list.
    pub took: Duration,
}

impl<T> Seen<T> {
    /// A fact that took no request, or a request that was answered at once.
    pub const fn at_once(fact: T, at: Timestamp) -> Self {
        Self { fact, at, took: Duration::ZERO }
    }
}

/// The account's complete customer list, reduced to what the guards and the proof need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// How many customers the account has.
    pub customers: usize,
    /// The entry of the tenant in question, if the list holds it.
    pub entry: Option<Customer>,
    /// Whether it was read because an earlier list had lacked the tenant. Only then an absence counts:
    /// that list may have been begun before the customer was created.
    pub again: bool,
}

impl Census {
    /// Whether it says that the tenant is no customer.
    pub fn lacks_the_tenant(&self) -> bool {
        self.entry.is_none() && self.again
    }
}

/// The account's complete customer list itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerList {
    /// Its entries.
    pub customers: Vec<Customer>,
    /// How many customers it tells apart.
    pub count: usize,
}

/// What reading the entitlements showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entitlements {
    /// The complete list.
    Listed(Vec<Entitlement>),
    /// The API refuses entitlements to this credential: the inventory rests on orders and
    /// subscriptions, without this cross-check.
    Refused,
}

/// Reads made side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// How long the API took over the slowest of them.
    pub took: Duration,
    /// When all of them were in.
    pub ended: Timestamp,
}

/// What one pass has seen. Everything is absent until it was read in this pass, and a list is
/// present only if it was read to its end (invariant 6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// The customer by id.
    pub customer: Option<Seen<CustomerSeen>>,
    /// The account's customer list.
    pub census: Option<Seen<Census>>,
    /// All orders of the customer.
    pub orders: Option<Seen<Vec<Order>>>,
    /// Orders read by id, because a refusal or an entitlement named them: `None` is "no such order".
    pub named_orders: BTreeMap<String, Seen<Option<Order>>>,
    /// All subscriptions of the customer.
    pub subscriptions: Option<Seen<Vec<Subscription>>>,
    /// Subscriptions read by id, because an order that was read by id holds them and the list does not:
    /// `None` is "no such subscription".
    pub named_subscriptions: BTreeMap<String, Seen<Option<Subscription>>>,
    /// All entitlements of the customer.
    pub entitlements: Option<Seen<Entitlements>>,
    /// Azure subscriptions by the subscription id of their Azure plan.
    pub azure: BTreeMap<String, Seen<Vec<AzureEntitlement>>>,
    /// Azure subscriptions read by id, by the subscription id of their Azure plan and their own:
    /// `None` is "cannot be read by itself".
    pub named_azure: BTreeMap<(String, String), Seen<Option<AzureEntitlement>>>,
    /// How far the wall clock was ahead of database time, by which everything here is dated.
    pub ahead: SignedDuration,
    /// The rounds in which it was read.
    pub rounds: Vec<Round>,
    /// The first thing that went wrong in this pass, if any: the pass ends there.
    pub trouble: Option<Trouble>,
}

impl Observation {
    /// By what Microsoft's dates are judged: the wall clock when something was read, or database time
    /// where that is earlier, so that no step of the clock makes anything older than it is.
    pub fn date_of(&self, at: Timestamp) -> Timestamp {
        at.checked_add(self.ahead.min(SignedDuration::ZERO)).unwrap_or(at)
    }

    /// When this was read, if it was.
    pub fn read_at(&self, read: &Read) -> Option<Timestamp> {
        self.read(read).map(|(at, _)| at)
    }

    /// When this was read and how long that took, if it was.
    pub(super) fn read(&self, read: &Read) -> Option<(Timestamp, Duration)> {
        fn of<T>(seen: Option<&Seen<T>>) -> Option<(Timestamp, Duration)> {
            seen.map(|seen| (seen.at, seen.took))
        }
        match read {
            Read::Customer => of(self.customer.as_ref()),
            Read::Census { .. } => of(self.census.as_ref()),
            Read::Orders => of(self.orders.as_ref()),
            Read::Order(id) => of(self.named_orders.get(id)),
            Read::Subscriptions => of(self.subscriptions.as_ref()),
            Read::Subscription(id) => of(self.named_subscriptions.get(id)),
            Read::Entitlements => of(self.entitlements.as_ref()),
            Read::AzureEntitlements(plan) => of(self.azure.get(plan)),
            Read::AzureEntitlement(plan, id) => {
                of(self.named_azure.get(&(plan.clone(), id.clone())))
            }
        }
    }
}

/// A read that the machine wants before it can decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Read {
    /// `GET /v1/customers/{id}`.
    Customer,
    /// The complete customer list of the account.
    Census {
        /// A list whose reading began before this does not count.
        not_before: Timestamp,
    },
    /// `GET …/orders`.
    Orders,
    /// `GET …/orders/{id}`.
    Order(String),
    /// `GET …/subscriptions`.
    Subscriptions,
    /// `GET …/subscriptions/{id}`.
    Subscription(String),
    /// `GET …/entitlements`.
    Entitlements,
    /// `GET …/subscriptions/{plan}/azureEntitlements`.
    AzureEntitlements(String),
    /// `GET …/subscriptions/{plan}/azureEntitlements/{id}`.
    AzureEntitlement(String, String),
}
