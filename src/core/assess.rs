//! What a customer has bought, judged: which kind each purchase is and whether it is still active.
//!
//! Recognising a kind from fields is our own judgement where `docs/api-facts.md` says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::command::{Action, Command};
use super::ids::is_resource_id;
use super::inventory::{AzureEntitlement, Entitlement, Order, OrderLine, Subscription};
use super::key::ResourceKey;
use super::memory::Memory;
use super::observation::{Observation, Read};
use super::routes::{Kind, Purchase, Standing, Target};

mod named;

use named::{
    entitlements, merged_orders, merged_subscriptions, names_order, order_ids, same_id, shown,
    unplaced,
};
pub use named::{follow_up_reads, places, same_order, unproven};

/// Everything the customer has bought, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The purchases, in the order of work.
    pub purchases: Vec<Purchase>,
    /// When the oldest read it rests on was started.
    pub read_at: Timestamp,
    /// Whether everything was read that can be read, entitlements included.
    pub complete: bool,
    /// What was read by id, and when: a list may lag behind.
    pub by_id: BTreeMap<Read, Timestamp>,
    /// The resources that the readings show, purchases or not.
    pub shown: BTreeSet<ResourceKey>,
}

impl Assessment {
    /// Whether it is complete and shows nothing that is active or still changing.
    pub fn proves_nothing_active(&self) -> bool {
        self.complete && self.purchases.iter().all(|p| p.standing == Standing::Inactive)
    }

    /// Whether a cancellation that was sent before it was read has reached its goal: its resource is no
    /// unfinished purchase's any more, or there is no such resource. It says nothing of the customer.
    pub fn shows_done(&self, command: &Command) -> bool {
        let resource = &command.intent.resource;
        let unfinished = self.unfinished().any(|p| p.resources().any(|own| own == *resource));
        let looked_for = resource.read().is_some_and(|read| self.by_id.contains_key(&read));
        let was_seen = self.shown.contains(resource) || looked_for || self.is_moot(resource);
        was_seen && !unfinished && command.last_sent_at.is_none_or(|sent| sent <= self.read_at)
    }

    /// With its plan an Azure subscription goes too.
    fn is_moot(&self, resource: &ResourceKey) -> bool {
        let ResourceKey::Azure { plan, .. } = resource else { return false };
        let key = ResourceKey::subscription(plan);
        !self.unfinished().any(|purchase| purchase.key == key)
    }

    /// The purchases that are not inactive.
    pub fn unfinished(&self) -> impl Iterator<Item = &Purchase> {
        self.purchases.iter().filter(|p| p.standing != Standing::Inactive)
    }
}

/// Judges a full reading. `None` while orders, subscriptions or the Azure subscriptions of an Azure
/// plan that is not inactive were not read.
pub fn assess(seen: &Observation) -> Option<Assessment> {
    let orders = seen.orders.as_ref()?;
    let subscriptions = seen.subscriptions.as_ref()?;
    let mut read_at = orders.at.min(subscriptions.at);
    for plan in active_plans(&merged_subscriptions(seen)) {
        read_at = read_at.min(seen.azure.get(&plan.id)?.at);
    }
    if let Some(read) = &seen.entitlements {
        read_at = read_at.min(read.at);
    }
    let complete = seen.entitlements.is_some() && unplaced(seen).is_empty();
    let (by_id, shown) = (by_id(seen), shown(seen));
    Some(Assessment { purchases: judge(seen), read_at, complete, by_id, shown })
}

/// A complete inventory, in which whatever no list can prove was looked at by itself.
pub fn whole(seen: &Observation, memory: &Memory) -> Option<Assessment> {
    let inventory = assess(seen).filter(|inventory| inventory.complete)?;
    let looked_at = |read: &Read| inventory.by_id.contains_key(read);
    unproven(seen, memory).iter().all(looked_at).then_some(inventory)
}

/// Everything that was read by id, and when.
pub fn by_id(seen: &Observation) -> BTreeMap<Read, Timestamp> {
    let orders = seen.named_orders.iter().map(|(id, read)| (Read::Order(id.clone()), read.at));
    let subscriptions = seen.named_subscriptions.iter();
    let subscriptions = subscriptions.map(|(id, read)| (Read::Subscription(id.clone()), read.at));
    let azure = seen.named_azure.iter();
    let azure =
        azure.map(|((plan, id), read)| (Read::AzureEntitlement(plan.clone(), id.clone()), read.at));
    orders.chain(subscriptions).chain(azure).collect()
}

/// Judges whatever was read, without a claim to completeness: for looking up single purchases while
/// polling.
pub fn judge(seen: &Observation) -> Vec<Purchase> {
    let orders = merged_orders(seen);
    // What is past its time is judged by when it was read.
    let read_at = |at: Option<Timestamp>| at.map_or(Timestamp::MIN, |at| seen.date_of(at));
    let orders_at = read_at(seen.orders.as_ref().map(|read| read.at));
    let subscriptions_at = read_at(seen.subscriptions.as_ref().map(|read| read.at));
    let subscriptions = merged_subscriptions(seen);
    let subscriptions = subscriptions.as_slice();
    let entitlements = entitlements(seen);
    let mut purchases: Vec<Purchase> = orders
        .iter()
        .filter_map(|order| order_purchase(order, subscriptions, entitlements, orders_at))
        .chain(
            subscriptions
                .iter()
                .map(|s| subscription_purchase(s, subscriptions, &orders, subscriptions_at)),
        )
        .chain(seen.azure.iter().flat_map(|(plan, read)| {
            read.fact.iter().map(|listed| azure_purchase(plan, by_itself(seen, plan, listed)))
        }))
        .chain(without_an_order(entitlements, &orders))
        .collect();
    order_the_work(&mut purchases, subscriptions);
    purchases
}

/// Entitlements whose order cannot be found: what they are and whether they are active nobody knows.
fn without_an_order(entitlements: &[Entitlement], orders: &[Order]) -> Vec<Purchase> {
    let placed = |entitlement: &&Entitlement| orders.iter().any(|o| names_order(entitlement, o));
    let mut unknown: Vec<Purchase> = Vec::new();
    for entitlement in entitlements.iter().filter(|entitlement| !placed(entitlement)) {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        let (product, sku) = (text(&entitlement.product_id), text(&entitlement.sku_id));
        let order = order_ids(entitlement).next().unwrap_or("-");
        let key = ResourceKey::Entitlement(format!("{order}/{product}/{sku}"));
        if unknown.iter().any(|known| known.key == key) {
            continue;
        }
        unknown.push(Purchase {
            key,
            kind: Kind::Unknown,
            name: product,
            status: text(&entitlement.entitlement_type),
            standing: Standing::Active,
            order_id: order_ids(entitlement).next().map(str::to_owned),
            routes: Vec::new(),
            after: Vec::new(),
            too_old: false,
            lacks_upload: false,
            cancellable_until: None,
        });
    }
    unknown
}

/// Azure plans whose Azure subscriptions matter: those that are not inactive.
pub fn active_plans(subscriptions: &[Subscription]) -> impl Iterator<Item = &Subscription> {
    subscriptions.iter().filter(|subscription| {
        subscription_kind(subscription) == Kind::AzurePlan
            && subscription_standing(Kind::AzurePlan, subscription.status.as_deref())
                != Standing::Inactive
    })
}

fn belongs_to(subscription: &Subscription, order: &Order) -> bool {
    let is_line = |line: &OrderLine| {
        line.subscription_id.as_deref().is_some_and(|id| same_id(id, &subscription.id))
    };
    subscription.order_id.as_deref().is_some_and(|id| same_order(id, order))
        || order.lines.iter().any(is_line)
}

/// In a sandbox some products are ordered as `pending_po_upload` on purpose, and nothing but the upload of a
/// purchase order document, which is a person's, ends that (Partner Center documentation of Access and Excel LTSC 2021).
/// A person who means to upload one has a working day to do it. An order that is older, or of unknown age,
/// is not waited for.
const UPLOAD_PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// The status of an order, by its letters: it is spelt with blanks, with underlines and in one word.
fn order_status(order: &Order) -> String {
    let status = order.status.as_deref().unwrap_or_default();
    status.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

fn awaits_upload(order: &Order) -> bool {
    order_status(order) == "pendingpoupload"
}

/// Whether an order has waited for its upload for too long.
fn lacks_upload(order: &Order, now: Timestamp) -> bool {
    let until = order.created_at.and_then(|at| at.checked_add(UPLOAD_PATIENCE).ok());
    awaits_upload(order) && until.is_none_or(|until| until <= now)
}

fn order_standing(order: &Order, now: Timestamp) -> Standing {
    // A software order cancelled line by line stays `completed` with quantity 0
    // (cancel-software-purchases.md).
    let emptied = !order.lines.is_empty() && order.lines.iter().all(|l| l.quantity == Some(0));
    match order_status(order).as_str() {
        "cancelled" | "canceled" | "rejected" | "poreviewrejected" | "error" | "expired" => {
            Standing::Inactive
        }
        // Microsoft reviews what was uploaded.
        "pending" | "unknown" | "pendingreview" | "pouploadcomplete" => Standing::Pending,
        "pendingpoupload" if !lacks_upload(order, now) => Standing::Pending,
        _ if emptied => Standing::Inactive,
        _ => Standing::Active,
    }
}

/// An order that is a purchase by itself: a reservation or perpetual software. Orders whose lines
/// are all subscriptions are cancelled through those.
fn order_purchase(
    order: &Order,
    subscriptions: &[Subscription],
    entitlements: &[Entitlement],
    now: Timestamp,
) -> Option<Purchase> {
    let covered = |line: &OrderLine| {
        line.subscription_id.as_deref().is_some_and(is_resource_id)
            || subscriptions.iter().any(|s| {
                belongs_to(s, order)
                    && (order.lines.len() == 1
                        || s.offer_id.is_none()
                        || s.offer_id == line.offer_id)
            })
    };
    let has_subscription = subscriptions.iter().any(|s| belongs_to(s, order));
    let own_lines = order.lines.iter().any(|line| !covered(line))
        || (order.lines.is_empty() && !has_subscription);
    let own = || entitlements.iter().filter(|e| names_order(e, order));
    let reserved =
        own().any(|e| e.entitlement_type.as_deref().is_some_and(|kind| kind.contains("reserved")));
    let entitled = own().next().is_some() && !has_subscription;
    if !own_lines && !reserved && !entitled {
        return None;
    }
    let names_reservation = order.lines.iter().any(|line| {
        line.friendly_name.as_deref().is_some_and(|n| n.to_lowercase().contains("reserved"))
    });
    let routes = order_route(order);
    let kind = match routes {
        // An order without an id that leads to it can be neither cancelled nor overlooked.
        None => Kind::Unknown,
        Some(_) if reserved || names_reservation => Kind::Reservation,
        Some(_) => Kind::PerpetualSoftware,
    };
    let name = order
        .lines
        .iter()
        .find_map(|line| line.friendly_name.clone().or_else(|| line.offer_id.clone()));
    Some(Purchase {
        key: ResourceKey::order(&order.id),
        kind,
        name: name.unwrap_or_default(),
        status: order.status.clone().unwrap_or_default(),
        standing: order_standing(order, now),
        order_id: Some(order.id.clone()),
        routes: routes.into_iter().collect(),
        after: Vec::new(),
        too_old: is_too_old(order, now),
        lacks_upload: lacks_upload(order, now),
        cancellable_until: cancellable_until(order).filter(|until| now <= *until),
    })
}

/// Sandbox orders older than 60 days cannot be cancelled (the policy page as quoted by
/// partner-center-mcp; not certain, hence `retry --try-anyway`).
fn is_too_old(order: &Order, now: Timestamp) -> bool {
    cancellable_until(order).is_some_and(|until| until < now)
}

fn cancellable_until(order: &Order) -> Option<Timestamp> {
    const LIMIT: SignedDuration = SignedDuration::from_hours(60 * 24);
    order.created_at?.checked_add(LIMIT).ok()
}

/// How an order is cancelled, where its id leads to it.
fn order_route(order: &Order) -> Option<(Action, Target)> {
    let target = Target::Order { id: order.id.clone(), etag: order.etag.clone() };
    is_resource_id(&order.id).then_some((Action::CancelOrder, target))
}

/// What a subscription is.
pub fn subscription_kind(subscription: &Subscription) -> Kind {
    if !is_resource_id(&subscription.id) {
        return Kind::Unknown;
    }
    let offer = subscription.offer_id.as_deref().unwrap_or("").to_ascii_uppercase();
    let product = subscription.product_type.as_deref().unwrap_or("");
    if subscription.unit_type.as_deref() == Some("benefit")
        || subscription.billing_type.as_deref() == Some("benefit")
    {
        Kind::SavingsPlan
    } else if offer.starts_with("DZH318Z0BPS6:") {
        Kind::AzurePlan
    } else if subscription.is_microsoft_product == Some(false) {
        Kind::MarketplaceSaas
    } else {
        match product {
            "onlineservicesnce" => Kind::NewCommerceLicence,
            "software" => Kind::SoftwareSubscription,
            "azure" if offer.starts_with("MS-AZR-") => Kind::LegacySubscription,
            "azure" => Kind::AzurePlan,
            // Legacy resources carry no product type.
            "" => Kind::LegacySubscription,
            _ => Kind::Unknown,
        }
    }
}

fn subscription_standing(kind: Kind, status: Option<&str>) -> Standing {
    match status {
        Some("deleted" | "expired" | "disabled" | "cancelled" | "canceled") => Standing::Inactive,
        // The documented goals are `deleted` and, of software, `cancelled`; suspended is neither.
        Some("suspended") if matches!(kind, Kind::MarketplaceSaas | Kind::SoftwareSubscription) => {
            Standing::Active
        }
        Some("suspended" | "inactive") => Standing::Inactive,
        Some("pending") => Standing::Pending,
        Some(_) | None => Standing::Active,
    }
}

fn subscription_purchase(
    subscription: &Subscription,
    all: &[Subscription],
    orders: &[Order],
    now: Timestamp,
) -> Purchase {
    let kind = subscription_kind(subscription);
    let order = orders.iter().find(|order| belongs_to(subscription, order));
    let mut standing = subscription_standing(kind, subscription.status.as_deref());
    let target = Target::Subscription {
        id: subscription.id.clone(),
        etag: subscription.etag.clone(),
        raw: subscription.raw.clone(),
    };
    let delete = (Action::DeleteSubscription, target.clone());
    let suspend = (Action::SuspendSubscription, target);
    let routes = match kind {
        Kind::SoftwareSubscription => {
            // The whole order may be cancelled only if nothing else hangs on it.
            let alone = order.filter(|order| !is_too_old(order, now)).filter(|order| {
                all.iter()
                    .filter(|other| belongs_to(other, order))
                    .all(|other| subscription_kind(other) == Kind::SoftwareSubscription)
            });
            if alone.is_some_and(|order| order_standing(order, now) == Standing::Inactive) {
                standing = Standing::Inactive;
            }
            alone.and_then(order_route).into_iter().chain([delete]).collect()
        }
        // Past its window a licence can only be suspended.
        Kind::NewCommerceLicence
            if subscription.cancellation_allowed_until.is_some_and(|until| until < now) =>
        {
            vec![suspend]
        }
        Kind::NewCommerceLicence => vec![delete, suspend],
        Kind::MarketplaceSaas => vec![delete],
        // For a savings plan only on an operator's word: the API is said to refuse it (900321).
        Kind::AzurePlan | Kind::LegacySubscription | Kind::SavingsPlan => vec![suspend],
        Kind::Unknown | Kind::Reservation | Kind::PerpetualSoftware | Kind::AzureSubscription => {
            Vec::new()
        }
    };
    Purchase {
        key: ResourceKey::subscription(&subscription.id),
        kind,
        name: subscription
            .name
            .clone()
            .or_else(|| subscription.offer_id.clone())
            .unwrap_or_default(),
        status: subscription.status.clone().unwrap_or_default(),
        standing,
        order_id: order.map(|order| order.id.clone()).or_else(|| subscription.order_id.clone()),
        routes,
        after: Vec::new(),
        too_old: false,
        lacks_upload: false,
        cancellable_until: None,
    }
}

/// The Azure subscription as read by id, where it was: that is newer than the list.
fn by_itself<'a>(
    seen: &'a Observation,
    plan: &str,
    listed: &'a AzureEntitlement,
) -> &'a AzureEntitlement {
    let named = seen.named_azure.get(&(plan.to_owned(), listed.id.clone()));
    named.and_then(|read| read.fact.as_ref()).unwrap_or(listed)
}

fn azure_purchase(plan: &str, entitlement: &AzureEntitlement) -> Purchase {
    let standing = match entitlement.status.as_deref() {
        Some("inactive" | "deleted" | "disabled" | "expired" | "cancelled" | "canceled") => {
            Standing::Inactive
        }
        Some(_) | None => Standing::Active,
    };
    let target = Target::Azure { plan: plan.to_owned(), id: entitlement.id.clone() };
    let key = target.resource();
    let known = is_resource_id(&entitlement.id);
    Purchase {
        key,
        kind: if known { Kind::AzureSubscription } else { Kind::Unknown },
        name: entitlement.name.clone().unwrap_or_default(),
        status: entitlement.status.clone().unwrap_or_default(),
        standing,
        order_id: None,
        routes: known.then_some((Action::CancelAzureEntitlement, target)).into_iter().collect(),
        after: Vec::new(),
        too_old: false,
        lacks_upload: false,
        cancellable_until: None,
    }
}

/// Reservations first, then by kind and key; and what must wait for what: an Azure plan for its
/// Azure subscriptions and for every order of its own kind (create-azure-plan.md names
/// reservations), a parent for its add-ons.
fn order_the_work(purchases: &mut [Purchase], subscriptions: &[Subscription]) {
    purchases.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    let orders: Vec<ResourceKey> = purchases
        .iter()
        .filter(|p| matches!(p.kind, Kind::Reservation | Kind::PerpetualSoftware))
        .map(|p| p.key.clone())
        .collect();
    let keys: Vec<ResourceKey> = purchases.iter().map(|p| p.key.clone()).collect();
    let mut add_ons: BTreeMap<ResourceKey, Vec<ResourceKey>> = BTreeMap::new();
    for subscription in subscriptions {
        if let Some(parent) = &subscription.parent_subscription_id
            && *parent != subscription.id
        {
            add_ons
                .entry(ResourceKey::subscription(parent))
                .or_default()
                .push(ResourceKey::subscription(&subscription.id));
        }
    }
    for purchase in purchases {
        if let Some(children) = add_ons.remove(&purchase.key) {
            purchase.after.extend(children);
        }
        if purchase.kind == Kind::AzurePlan
            && let ResourceKey::Subscription(id) = &purchase.key
        {
            let is_under =
                |key: &&ResourceKey| matches!(key, ResourceKey::Azure { plan, .. } if plan == id);
            purchase.after.extend(keys.iter().filter(is_under).cloned());
            purchase.after.extend(orders.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests;
