//! What a customer has bought, judged: which kind each purchase is and whether it is still active.
//!
//! Recognising a kind from fields is our own judgement where `docs/api-facts.md` says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::command::{Action, Command};
use super::ids::is_resource_id;
use super::inventory::{AzureEntitlement, Entitlement, Order, OrderLine, Subscription};
use super::observation::{Entitlements, Observation, Read, Seen};
use super::routes::{Kind, Purchase, Standing, Target};

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
    pub shown: BTreeSet<String>,
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
        let looked_for = read_of(resource).is_some_and(|read| self.by_id.contains_key(&read));
        let was_seen = self.shown.contains(resource) || looked_for || self.is_moot(resource);
        was_seen && !unfinished && command.last_sent_at.is_none_or(|sent| sent <= self.read_at)
    }

    /// With its plan an Azure subscription goes too.
    fn is_moot(&self, resource: &str) -> bool {
        let plan = resource.strip_prefix("azure:").and_then(|rest| rest.split_once('/'));
        plan.is_some_and(|(plan, _)| {
            let key = format!("subscription:{plan}");
            !self.unfinished().any(|purchase| purchase.key == key)
        })
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

/// A complete inventory, in which what is `on_record` as unfinished was looked for too.
pub fn whole<'a>(
    seen: &Observation,
    on_record: impl Iterator<Item = &'a str>,
) -> Option<Assessment> {
    let inventory = assess(seen).filter(|inventory| inventory.complete)?;
    let looked_for = |read: &Read| inventory.by_id.contains_key(read);
    vanished(seen, on_record).iter().all(looked_for).then_some(inventory)
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
        let key = format!("entitlement:{order}/{product}/{sku}");
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

/// What the lists read so far say must be read too: the Azure subscriptions of Azure plans, and
/// whatever is named and stands in no list.
pub fn follow_up_reads(seen: &Observation) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    if seen.subscriptions.is_some() {
        let subscriptions = merged_subscriptions(seen);
        let plans = active_plans(&subscriptions);
        reads.extend(plans.map(|plan| Read::AzureEntitlements(plan.id.clone())));
    }
    // What was read by id stays part of the inventory.
    reads.extend(seen.named_orders.keys().cloned().map(Read::Order));
    reads.extend(seen.named_subscriptions.keys().cloned().map(Read::Subscription));
    reads.extend(unplaced(seen));
    reads
}

/// What is named somewhere and must be read by itself: an order that an entitlement or a subscription
/// belongs to, a subscription that an order's line or an add-on belongs to. Unknown is never empty.
fn unplaced(seen: &Observation) -> Vec<Read> {
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

/// What is on record as unfinished and shows nowhere in what was read: it is read by itself, since a
/// list may lack it.
pub fn vanished<'a>(seen: &Observation, on_record: impl Iterator<Item = &'a str>) -> Vec<Read> {
    let (Some(_), Some(_)) = (&seen.orders, &seen.subscriptions) else { return Vec::new() };
    let (shown, subscriptions) = (shown(seen), merged_subscriptions(seen));
    let looked_at = |read: &Read| match read {
        Read::AzureEntitlement(plan, _) => active_plans(&subscriptions).any(|s| s.id == *plan),
        _ => true,
    };
    let missing = on_record.filter(|resource| !shown.contains(*resource)).filter_map(read_of);
    missing.filter(looked_at).collect()
}

/// The read that shows a resource by itself; `None` for the customer and what has no id that leads to it.
pub fn read_of(resource: &str) -> Option<Read> {
    let (kind, id) = resource.split_once(':')?;
    let (plan, id) = if kind == "azure" { id.split_once('/')? } else { ("", id) };
    let leads_to_it = is_resource_id(id) && (plan.is_empty() || is_resource_id(plan));
    let id = leads_to_it.then(|| id.to_owned())?;
    match kind {
        "order" => Some(Read::Order(id)),
        "subscription" => Some(Read::Subscription(id)),
        "azure" => Some(Read::AzureEntitlement(plan.to_owned(), id)),
        _ => None,
    }
}

/// The resources that were read.
fn shown(seen: &Observation) -> BTreeSet<String> {
    let orders = merged_orders(seen).into_iter().map(|order| format!("order:{}", order.id));
    let subscriptions = merged_subscriptions(seen).into_iter();
    let subscriptions = subscriptions.map(|s| format!("subscription:{}", s.id));
    let azure = seen.azure.iter().flat_map(|(plan, read)| {
        read.fact.iter().map(move |entitlement| format!("azure:{plan}/{}", entitlement.id))
    });
    orders.chain(subscriptions).chain(azure).collect()
}

/// Whether an id that a text names is one of an order or a subscription that was read.
pub fn places(seen: &Observation, id: &str) -> bool {
    merged_orders(seen).iter().any(|order| same_order(id, order))
        || merged_subscriptions(seen).iter().any(|subscription| same_id(id, &subscription.id))
}

fn entitlements(seen: &Observation) -> &[Entitlement] {
    match seen.entitlements.as_ref().map(|read| &read.fact) {
        Some(Entitlements::Listed(list)) => list,
        Some(Entitlements::Refused) | None => &[],
    }
}

/// The ids of the order that an entitlement belongs to, where they can be ids.
fn order_ids(entitlement: &Entitlement) -> impl Iterator<Item = &str> {
    let ids = [&entitlement.order_id, &entitlement.alternate_order_id];
    ids.into_iter().flatten().map(String::as_str).filter(|id| is_resource_id(id))
}

fn same_id(one: &str, other: &str) -> bool {
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
fn merged_orders(seen: &Observation) -> Vec<Order> {
    merged(seen.orders.as_ref(), &seen.named_orders, same_order, |order| &order.id)
}

/// The subscription list, likewise.
fn merged_subscriptions(seen: &Observation) -> Vec<Subscription> {
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

fn names_order(entitlement: &Entitlement, order: &Order) -> bool {
    order_ids(entitlement).any(|id| same_order(id, order))
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
        key: format!("order:{}", order.id),
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
        key: format!("subscription:{}", subscription.id),
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
    let orders: Vec<String> = purchases
        .iter()
        .filter(|p| matches!(p.kind, Kind::Reservation | Kind::PerpetualSoftware))
        .map(|p| p.key.clone())
        .collect();
    let keys: Vec<String> = purchases.iter().map(|p| p.key.clone()).collect();
    let mut add_ons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for subscription in subscriptions {
        if let Some(parent) = &subscription.parent_subscription_id
            && *parent != subscription.id
        {
            add_ons
                .entry(format!("subscription:{parent}"))
                .or_default()
                .push(format!("subscription:{}", subscription.id));
        }
    }
    for purchase in purchases {
        if let Some(children) = add_ons.remove(&purchase.key) {
            purchase.after.extend(children);
        }
        if purchase.kind == Kind::AzurePlan
            && let Some(id) = purchase.key.strip_prefix("subscription:")
        {
            let prefix = format!("azure:{id}/");
            purchase.after.extend(keys.iter().filter(|key| key.starts_with(&prefix)).cloned());
            purchase.after.extend(orders.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests;
