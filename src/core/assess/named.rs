//! Things that are named: which of them must be read by themselves, and how such a reading is put in place
//! of what a list says.

use std::collections::{BTreeMap, BTreeSet};

use super::{active_plans, subscription_kind, subscription_standing};
use crate::core::ids::is_resource_id;
use crate::core::inventory::{Entitlement, Order, Subscription};
use crate::core::key::ResourceKey;
use crate::core::memory::Memory;
use crate::core::observation::{Entitlements, Observation, Read, Seen};
use crate::core::routes::Standing;

/// The reads that the lists read so far call for: the Azure subscriptions of Azure plans, and
/// whatever is named and stands in no list.
pub fn follow_up_reads(seen: &Observation) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    // A thing that was read by id stays part of the inventory, so that it is never older than its list.
    if seen.subscriptions.is_some() {
        let subscriptions = merged_subscriptions(seen);
        for plan in active_plans(&subscriptions) {
            reads.push(Read::AzureEntitlements(plan.id.clone()));
            let named = seen.named_azure.keys().filter(|(of, _)| *of == plan.id);
            reads.extend(named.map(|(of, id)| Read::AzureEntitlement(of.clone(), id.clone())));
        }
    }
    reads.extend(seen.named_orders.keys().cloned().map(Read::Order));
    reads.extend(seen.named_subscriptions.keys().cloned().map(Read::Subscription));
    reads.extend(unplaced(seen));
    reads
}

/// The reads of things that are named and stand nowhere: an order that an entitlement or a subscription
/// belongs to, a subscription that an order's line or an add-on belongs to. Unknown is never empty.
pub(super) fn unplaced(seen: &Observation) -> Vec<Read> {
    let (Some(_), Some(_)) = (&seen.orders, &seen.subscriptions) else { return Vec::new() };
    let (orders, subscriptions) = (merged_orders(seen), merged_subscriptions(seen));
    let mut reads: Vec<Read> = Vec::new();
    let lines = orders.iter().flat_map(|order| &order.lines);
    let of_lines = lines.filter_map(|line| line.subscription_id.as_deref());
    let active = || subscriptions.iter().filter(|subscription| !is_over(subscription));
    let of_add_ons = active().filter_map(|s| s.parent_subscription_id.as_deref());
    for id in of_lines.chain(of_add_ons).filter(|id| is_resource_id(id)) {
        let listed = subscriptions.iter().any(|subscription| same_id(id, &subscription.id));
        if !listed && !has(&seen.named_subscriptions, id) {
            reads.push(Read::Subscription(id.to_owned()));
        }
    }
    let of_subscriptions = active().filter_map(|s| s.order_id.as_deref());
    for id in of_subscriptions.filter(|id| is_resource_id(id)) {
        let listed = orders.iter().any(|order| same_order(id, order));
        if !listed && !has(&seen.named_orders, id) {
            reads.push(Read::Order(id.to_owned()));
        }
    }
    for entitlement in entitlements(seen) {
        let placed = orders.iter().any(|order| names_order(entitlement, order));
        let next = || order_ids(entitlement).find(|id| !has(&seen.named_orders, id));
        if !placed && let Some(id) = next() {
            reads.push(Read::Order(id.to_owned()));
        }
    }
    reads
}

/// The reads of things that a list may lack or show as they were: those on record as unfinished that
/// show nowhere in what was read, and those that came back. Only a look at each proves something.
pub fn unproven(seen: &Observation, memory: &Memory) -> Vec<Read> {
    let (Some(_), Some(_)) = (&seen.orders, &seen.subscriptions) else { return Vec::new() };
    let (shown, subscriptions) = (shown(seen), merged_subscriptions(seen));
    let looked_at = |read: &Read| match read {
        Read::AzureEntitlement(plan, _) => active_plans(&subscriptions).any(|s| s.id == *plan),
        _ => true,
    };
    let missing = memory.on_record().filter(|key| !shown.contains(key));
    let reads = missing.chain(memory.come_back()).filter_map(ResourceKey::read);
    reads.filter(looked_at).collect()
}

/// The resources that were read.
pub(super) fn shown(seen: &Observation) -> BTreeSet<ResourceKey> {
    let orders = merged_orders(seen).into_iter().map(|order| ResourceKey::Order(order.id));
    let subscriptions = merged_subscriptions(seen).into_iter();
    let subscriptions = subscriptions.map(|s| ResourceKey::Subscription(s.id));
    let azure = seen.azure.iter().flat_map(|(plan, read)| {
        read.fact.iter().map(move |entitlement| ResourceKey::azure(plan, &entitlement.id))
    });
    orders.chain(subscriptions).chain(azure).collect()
}

/// Whether an id that a text names is one of an order or a subscription that was read.
pub fn places(seen: &Observation, id: &str) -> bool {
    merged_orders(seen).iter().any(|order| same_order(id, order))
        || merged_subscriptions(seen).iter().any(|subscription| same_id(id, &subscription.id))
}

pub(super) fn entitlements(seen: &Observation) -> &[Entitlement] {
    match seen.entitlements.as_ref().map(|read| &read.fact) {
        Some(Entitlements::Listed(list)) => list,
        Some(Entitlements::Refused) | None => &[],
    }
}

/// The ids of the order that an entitlement belongs to, where they can be ids.
pub(super) fn order_ids(entitlement: &Entitlement) -> impl Iterator<Item = &str> {
    let ids = [&entitlement.order_id, &entitlement.alternate_order_id];
    ids.into_iter().flatten().map(String::as_str).filter(|id| is_resource_id(id))
}

pub(super) fn same_id(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether something of this id was asked for by itself.
fn has<T>(named: &BTreeMap<String, T>, id: &str) -> bool {
    named.keys().any(|known| same_id(known, id))
}

fn is_over(subscription: &Subscription) -> bool {
    let kind = subscription_kind(subscription);
    subscription_standing(kind, subscription.status.as_deref()) == Standing::Inactive
}

/// The order list, with orders read by id put in place of their listed selves: a read by id is newer
/// than a list, which may lag 15 minutes (get-all-of-a-customer-s-orders.md).
pub(super) fn merged_orders(seen: &Observation) -> Vec<Order> {
    merged(seen.orders.as_ref(), &seen.named_orders, same_order, |order| &order.id)
}

/// The subscription list, likewise.
pub(super) fn merged_subscriptions(seen: &Observation) -> Vec<Subscription> {
    let same = |id: &str, subscription: &Subscription| same_id(id, &subscription.id);
    merged(seen.subscriptions.as_ref(), &seen.named_subscriptions, same, |s| &s.id)
}

fn merged<T: Clone>(
    list: Option<&Seen<Vec<T>>>,
    named: &BTreeMap<String, Seen<Option<T>>>,
    same: impl Fn(&str, &T) -> bool,
    id_of: impl Fn(&T) -> &String,
) -> Vec<T> {
    let mut merged = list.map(|read| read.fact.clone()).unwrap_or_default();
    for (asked, read) in named {
        match &read.fact {
            Some(by_id) => {
                merged.retain(|listed| !same(id_of(by_id), listed));
                merged.push(by_id.clone());
            }
            // There is none of that id, whatever a list says that was read before.
            None if list.is_some_and(|list| list.at <= read.at) => {
                merged.retain(|listed| !same(asked, listed));
            }
            None => {}
        }
    }
    merged
}

/// Whether `id` is either form of the order's id.
pub fn same_order(id: &str, order: &Order) -> bool {
    id.eq_ignore_ascii_case(&order.id)
        || order.alternate_id.as_deref().is_some_and(|alternate| id.eq_ignore_ascii_case(alternate))
}

pub(super) fn names_order(entitlement: &Entitlement, order: &Order) -> bool {
    order_ids(entitlement).any(|id| same_order(id, order))
}
