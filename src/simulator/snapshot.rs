//! Looks at the world that no client has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::life::Moment;
use super::purchase::Kind;
use super::state::State;
use super::world::{Order, Tenant};

/// The numbers for a progress display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Customers that are not gone.
    pub customers_left: usize,
    /// Active purchases by kind; a subscription and its add-ons count one each.
    pub active: BTreeMap<Kind, usize>,
    /// Requests so far, token requests included.
    pub calls: usize,
    /// How many of them were answered 429.
    pub throttled: u64,
    /// Breaches so far.
    pub breaches: usize,
}

impl Snapshot {
    pub(crate) fn of(state: &State, wall: Timestamp) -> Self {
        let now = state.moment(wall);
        let tenants = || state.accounts.iter().flat_map(|account| &account.tenants);
        let mut active = BTreeMap::new();
        for kind in tenants().filter(|t| !t.is_gone(now)).flat_map(|t| t.active_kinds(now)) {
            *active.entry(kind).or_default() += 1;
        }
        Self {
            customers_left: tenants().filter(|tenant| !tenant.is_gone(now)).count(),
            active,
            calls: state.journal.entries.len(),
            throttled: state.journal.throttled,
            breaches: state.journal.breaches.len(),
        }
    }
}

/// An order and the subscriptions bought with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseView {
    /// What was bought.
    pub kind: Kind,
    /// The order's id.
    pub order_id: String,
    /// The order's short id, where it has a long one too.
    pub alternate_id: Option<String>,
    /// Its subscriptions, parents before their add-ons.
    pub subscriptions: Vec<SubscriptionView>,
    /// Whether the purchase, or any part of it, is active.
    pub active: bool,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: String,
    /// The Azure subscriptions under it.
    pub azure: Vec<AzureView>,
}

/// An Azure subscription under an Azure plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureView {
    /// Its id.
    pub id: Uuid,
    /// Its status.
    pub status: String,
}

pub(crate) fn purchases(state: &State, customer: Uuid, wall: Timestamp) -> Vec<PurchaseView> {
    let now = state.moment(wall);
    let tenant = state.accounts.iter().find_map(|account| account.tenant(customer));
    let orders = tenant.map_or(&[][..], |tenant| &tenant.orders).iter().enumerate();
    tenant
        .into_iter()
        .flat_map(|tenant| {
            orders.clone().map(move |(index, order)| view(tenant, order, index, now))
        })
        .collect()
}

fn view(tenant: &Tenant, order: &Order, index: usize, now: Moment) -> PurchaseView {
    let own = || tenant.subscriptions.iter().filter(|s| s.order == index);
    let subscriptions = own().map(|subscription| SubscriptionView {
        id: subscription.id.clone(),
        status: subscription.life.status(now).to_owned(),
        azure: subscription
            .azure
            .iter()
            .map(|azure| AzureView { id: azure.id, status: azure.life.status(now).to_owned() })
            .collect(),
    });
    PurchaseView {
        kind: order.kind,
        order_id: order.id.clone(),
        alternate_id: order.alternate_id.clone(),
        subscriptions: subscriptions.collect(),
        active: order.is_active(now) || own().any(|subscription| subscription.is_active(now)),
    }
}
