//! What was asked of the simulator, what came of it, and what a careful client would not have done.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::profile::FaultKind;
use super::route::Template;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its number, from 0.
    pub number: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Endpoint.
    pub template: Template,
    /// `MS-RequestId`, in lower case.
    pub request_id: Option<String>,
    /// `MS-CorrelationId`, in lower case.
    pub correlation_id: Option<String>,
    /// The partner tenant of the account.
    pub partner: Option<Uuid>,
    /// The customer.
    pub tenant: Option<Uuid>,
    /// The status answered; `None` where the connection was dropped.
    pub status: Option<u16>,
    /// A write that changed the world.
    pub applied: bool,
    /// A write that had been applied before under this id and was answered from memory.
    pub replayed: bool,
    /// The answer reached the client whole, as far as the simulator can tell.
    pub delivered: bool,
    /// The fault that the profile of faults gave it.
    pub fault: Option<FaultKind>,
    /// Index of the account.
    #[serde(skip)]
    pub(crate) account: Option<usize>,
}

/// What a careful client never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// A write, under a new id, on a thing whose goal was asked for and accepted and which has not
    /// come back.
    RedundantWrite,
    /// A new id on a resource whose earlier write never had a usable answer, before a read showed
    /// its goal reached.
    NewIdOnUnsettled,
    /// An id under which something else was sent before.
    ReusedId,
    /// DELETE while something was active that the client had been shown, or had not looked for.
    DeleteWhileActive,
    /// DELETE without a complete reading of every list within the allowed age.
    DeleteWithoutInventory,
    /// A request inside a `Retry-After` window.
    InsideRetryAfter,
    /// Two writes at once on one resource.
    ConcurrentWrites,
    /// More requests of a class than the budget in 60 seconds.
    OverBudget,
    /// A write on a customer that was never meant.
    ProtectedCustomer,
    /// A missing or malformed header.
    BadHeader,
    /// A token was used whose `tid` is not the account's partner tenant.
    ForeignToken,
    /// A write that no endpoint of the fact sheet knows, such as `PATCH customers/{customer}`.
    UnknownWrite,
}

/// Something a careful client would not have done.
#[derive(Debug, Clone, Serialize)]
pub struct Breach {
    /// When.
    pub at: Timestamp,
    /// The number of the call.
    pub call: u64,
    /// What.
    pub kind: BreachKind,
    /// In words.
    pub text: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} call {}: {:?}: {}", self.at, self.call, self.kind, self.text)
    }
}

/// The record of a run.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    pub(crate) entries: Vec<Entry>,
    pub(crate) breaches: Vec<Breach>,
    pub(crate) applied: BTreeMap<String, u32>,
    pub(crate) throttled: u64,
}

impl Journal {
    /// Every request, in the order of arrival.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every breach, in order.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// How many breaches of a kind there are.
    pub fn count(&self, kind: BreachKind) -> usize {
        self.breaches.iter().filter(|breach| breach.kind == kind).count()
    }

    /// How many requests were answered 429.
    pub fn throttled(&self) -> u64 {
        self.throttled
    }

    /// How many answers got each kind of fault from the profile of faults.
    pub fn faults(&self) -> BTreeMap<FaultKind, u64> {
        let mut faults = BTreeMap::new();
        for kind in self.entries.iter().filter_map(|entry| entry.fault) {
            *faults.entry(kind).or_default() += 1;
        }
        faults
    }

    /// How many requests each method and endpoint had.
    pub fn calls_by_template(&self) -> BTreeMap<(String, Template), u64> {
        let mut calls = BTreeMap::new();
        for entry in &self.entries {
            *calls.entry((entry.method.clone(), entry.template)).or_default() += 1;
        }
        calls
    }

    /// How many requests concerned a customer.
    pub fn calls_of(&self, tenant: Uuid) -> usize {
        self.entries.iter().filter(|entry| entry.tenant == Some(tenant)).count()
    }

    /// How often a write changed the world, by method and resource, such as
    /// `DELETE customers/{id}` or `PATCH customers/{id}/orders/{id}`. Ids are those of the resource
    /// itself, also where a write named it by its `alternateId`. Exactly once each is the rule;
    /// twice is right only for what came back.
    pub fn applied(&self) -> &BTreeMap<String, u32> {
        &self.applied
    }
}
