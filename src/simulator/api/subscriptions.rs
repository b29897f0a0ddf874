//! `subscriptions`: list, one of them, PATCH of the whole resource, and `activate`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::life::Moment;
use super::super::purchase::Kind;
use super::super::route::Route;
use super::super::world::{Order, Subscription, Tenant, is_active_status};
use super::{
    Context, Outcome, body_of, collection, date, faults, field_of, later, link, offer_links,
    orders, pascal_case, text_of,
};

/// How long new commerce may be cancelled after the purchase (7 days; software 30).
const SEAT_WINDOW: Duration = Duration::from_hours(7 * 24);
const SOFTWARE_WINDOW: Duration = Duration::from_hours(30 * 24);

pub(crate) fn list(tenant: &Tenant, call: &Call, context: &Context<'_>) -> Outcome {
    let at = context.listed();
    let wanted = call.parameter("order_id");
    let listed = tenant.subscriptions.iter().filter(|subscription| {
        let order = tenant.orders.get(subscription.order);
        let of_order = |id: &String| order.is_some_and(|order| order.is_called(id));
        subscription.life.exists(at)
            && !order.is_some_and(|order| order.hidden)
            && wanted.as_ref().is_none_or(of_order)
    });
    let items = listed.map(|subscription| render(subscription, tenant, context, at)).collect();
    let page = collection::page(items, call, context);
    if wanted.is_some() { page.of_a_part() } else { page }
}

pub(crate) fn get(tenant: &Tenant, route: &Route, context: &Context<'_>) -> Outcome {
    match position(tenant, route, context) {
        Some(index) => {
            Outcome::ok(render(&tenant.subscriptions[index], tenant, context, context.now))
        }
        None => not_found(&route.item, context),
    }
}

/// Wants the full resource as it was read, with only the status changed.
pub(crate) fn patch(
    tenant: &mut Tenant,
    route: &Route,
    call: &Call,
    context: &Context<'_>,
) -> Outcome {
    let now = context.now;
    let Some(index) = position(tenant, route, context) else {
        return not_found(&route.item, context);
    };
    let subscription = &tenant.subscriptions[index];
    if let (Some(etag), Some(sent)) = (subscription.etag(now), call.header("If-Match"))
        && sent.trim().trim_matches('"') != etag
    {
        return faults::stale_etag();
    }
    let current = render(subscription, tenant, context, now);
    let Some(body) = body_of(call) else { return faults::invalid_body("body") };
    if let Some(name) = first_difference(&current, &body) {
        return faults::invalid_body(&name);
    }
    let goal = match text_of(&body, "status") {
        Some("suspended") => "suspended",
        Some("deleted") => "deleted",
        _ => return faults::fault(400, 800040, "The status cannot be changed to this one."),
    };
    if let Some(refusal) = refusal(tenant, index, goal, context) {
        return refusal;
    }
    let subscription = &mut tenant.subscriptions[index];
    let (kind, order) = (subscription.kind, subscription.order);
    if kind == Kind::SoftwareSubscription {
        orders::cancel(tenant, order, context);
    } else {
        context.ask(&mut subscription.life, None, goal);
    }
    patched(tenant, index, context).applied()
}

/// The answer to an applied PATCH: 200 with the resource, or 202 with where to read it again. The
/// documented answers for legacy subscriptions are in `PascalCase`.
fn patched(tenant: &Tenant, index: usize, context: &Context<'_>) -> Outcome {
    let subscription = &tenant.subscriptions[index];
    if context.options.subscription_patch_is_deferred {
        let own = format!("/customers/{}/subscriptions/{}", tenant.id, subscription.id);
        return Outcome::with_status(202, None).header("location", own);
    }
    let body = render(subscription, tenant, context, context.now);
    let legacy = matches!(subscription.kind, Kind::LegacyLicence | Kind::LegacyAzure);
    Outcome::ok(if legacy { pascal_case(body) } else { body })
}

/// The first field of the resource that the body leaves out or changes, other than the status and
/// what the client cannot change anyway.
fn first_difference(current: &Value, body: &Value) -> Option<String> {
    let fields = current.as_object()?;
    let (name, _) = fields.iter().find(|(name, value)| {
        let sent = field_of(body, name);
        match name.as_str() {
            "status" => sent.is_none(),
            "links" | "attributes" => false,
            _ => !sent.is_some_and(|sent| is_same(sent, value)),
        }
    })?;
    Some(name.clone())
}

/// Whether two values are the same, apart from the case of names.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(fields), Value::Object(others)) => {
            fields.len() == others.len()
                && others.iter().all(|(name, other)| {
                    field_of(one, name).is_some_and(|value| is_same(value, other))
                })
        }
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len()
                && items.iter().zip(others).all(|(item, other)| is_same(item, other))
        }
        _ => one == other,
    }
}

fn refusal(tenant: &Tenant, index: usize, goal: &str, context: &Context<'_>) -> Option<Outcome> {
    let now = context.now;
    let subscription = &tenant.subscriptions[index];
    let fault = |status, code, text: &str| Some(faults::fault(status, code, text));
    if subscription.kind == Kind::SavingsPlan {
        return fault(403, 900321, "A savings plan cannot be managed here.");
    }
    match subscription.life.status(now) {
        "deleted" => return fault(400, 2011, "The subscription is already deleted."),
        "suspended" if goal == "suspended" => {
            return fault(400, 800091, "The subscription is suspended.");
        }
        _ => {}
    }
    if subscription.life.is_changing(now) {
        return fault(409, 800082, "The subscription is not ready.");
    }
    if context.options.add_ons_first
        && tenant.subscriptions.iter().any(|s| s.parent == Some(index) && s.is_active(now))
    {
        return fault(400, 800096, "The status cannot be changed while an add-on is active.");
    }
    match (subscription.kind, goal) {
        (Kind::AzurePlan, "suspended") if plan_is_in_use(tenant, subscription, now) => {
            fault(403, 900115, "The plan still has active Azure subscriptions or reservations.")
        }
        (Kind::AzurePlan | Kind::LegacyLicence | Kind::LegacyAzure, "suspended")
        | (Kind::NewCommerce, "suspended") => None,
        (Kind::NewCommerce | Kind::Marketplace | Kind::SoftwareSubscription, "deleted") => {
            if subscription.activation.as_ref().is_some_and(|life| life.status(now) == "inactive") {
                return fault(400, 800081, "The subscription has not been activated yet.");
            }
            if subscription.window_passed {
                return fault(400, 900117, "The cancellation window has passed.");
            }
            None
        }
        _ => fault(400, 800096, "The status cannot be changed to this one."),
    }
}

/// Suspension needs no active Azure subscription and no reservation (23:create-azure-plan).
fn plan_is_in_use(tenant: &Tenant, plan: &Subscription, now: Moment) -> bool {
    let reserved =
        tenant.orders.iter().any(|order| order.kind.holds_reservation() && order.is_active(now));
    let running =
        |life: &super::super::life::Life| life.exists(now) && life.status(now) == "active";
    reserved || plan.azure.iter().any(|azure| running(&azure.life))
}

pub(crate) fn activate(tenant: &mut Tenant, route: &Route, context: &Context<'_>) -> Outcome {
    let Some(index) = position(tenant, route, context) else {
        return not_found(&route.item, context);
    };
    let subscription = &mut tenant.subscriptions[index];
    match subscription.activation.as_mut() {
        Some(life) if life.status(context.now) == "inactive" => {
            context.ask(life, None, "activated");
            let body = json!({ "subscriptionId": subscription.id, "status": "Success" });
            Outcome::ok(body).applied()
        }
        _ => faults::fault(400, 800096, "The subscription needs no activation."),
    }
}

pub(crate) fn position(tenant: &Tenant, route: &Route, context: &Context<'_>) -> Option<usize> {
    tenant.subscriptions.iter().position(|s| s.is_called(&route.item) && s.life.exists(context.now))
}

pub(crate) fn not_found(id: &str, context: &Context<'_>) -> Outcome {
    context.not_found("Subscription", 20003, id)
}

fn render(
    subscription: &Subscription,
    tenant: &Tenant,
    context: &Context<'_>,
    at: Moment,
) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let kind = subscription.kind;
    put("id", json!(subscription.id));
    if kind == Kind::LegacyAzure {
        put("entitlementId", json!(subscription.id));
    }
    put("offerId", json!(subscription.offer_id));
    put("offerName", json!(subscription.name));
    put("friendlyName", json!(subscription.name));
    if let Some(product_type) = product_type(kind) {
        put("productType", json!({ "id": product_type, "displayName": product_type }));
    }
    put("quantity", json!(1));
    put("unitType", json!(unit_type(kind)));
    if let Some(parent) = subscription.parent.and_then(|index| tenant.subscriptions.get(index)) {
        put("parentSubscriptionId", json!(parent.id));
    }
    put("hasPurchasableAddons", json!(false));
    put("creationDate", json!(date(subscription.created)));
    put("effectiveStartDate", json!(date(subscription.created)));
    put("commitmentEndDate", json!(later(subscription.created, Duration::from_hours(365 * 24))));
    if let Some(until) = cancellable_until(subscription, context) {
        put("cancellationAllowedUntilDate", until);
    }
    let status = subscription.life.status(at);
    put("status", json!(status));
    if !is_active_status(status) && status == "suspended" {
        put("suspensionReasons", json!(["PartnerRequested"]));
    }
    put("autoRenewEnabled", json!(true));
    put("isTrial", json!(false));
    put("billingType", json!(billing_type(kind)));
    put("billingCycle", json!(billing_cycle(tenant, subscription)));
    if product_type(kind).is_some() {
        put("termDuration", json!("P1M"));
        put("renewalTermDuration", json!(""));
    }
    // What becomes of a licence at the end of its term (sandboxes since November 2025).
    if kind == Kind::NewCommerce {
        let action = json!({
            "scheduleType": "TermEnd",
            "actionType": "RenewToExtendedServiceTerm",
            "instructions": { "termDuration": "P1M", "quantity": 1 },
        });
        put("scheduledActions", json!([action]));
    }
    put("isMicrosoftProduct", json!(kind != Kind::Marketplace));
    put("partnerId", json!(""));
    put("attentionNeeded", json!(false));
    put("actionTaken", json!(false));
    put("contractType", json!("subscription"));
    put("links", links(subscription, tenant));
    let publisher = if kind == Kind::Marketplace { "Fabrikam" } else { "Microsoft" };
    put("publisherName", json!(publisher));
    put("orderId", json!(tenant.orders.get(subscription.order).map(Order::short_id)));
    put("attributes", attributes(subscription, at));
    Value::Object(body)
}

fn billing_cycle(tenant: &Tenant, subscription: &Subscription) -> &'static str {
    tenant.orders.get(subscription.order).map_or("none", |order| order.billing_cycle)
}

/// Legacy resources carry an etag, marketplace ones an empty one, modern ones none.
fn attributes(subscription: &Subscription, at: Moment) -> Value {
    let mut attributes = Map::new();
    if let Some(etag) = subscription.etag(at) {
        attributes.insert("etag".into(), json!(etag));
    } else if subscription.kind == Kind::Marketplace {
        attributes.insert("etag".into(), json!(""));
    }
    attributes.insert("objectType".into(), json!("Subscription"));
    Value::Object(attributes)
}

fn links(subscription: &Subscription, tenant: &Tenant) -> Value {
    let customer = tenant.id;
    let own = |id: &str| link(format!("/customers/{customer}/subscriptions/{id}"));
    let mut links = Map::new();
    if subscription.offer_id.contains(':') {
        offer_links(&mut links, &subscription.offer_id);
    } else {
        links.insert("offer".into(), link(format!("/offers/{}?country=US", subscription.offer_id)));
    }
    if let Some(parent) = subscription.parent.and_then(|index| tenant.subscriptions.get(index)) {
        links.insert("parentSubscription".into(), own(&parent.id));
    }
    links.insert("self".into(), own(&subscription.id));
    Value::Object(links)
}

/// `None` where the resource has no such field, JSON `null` where it cannot be cancelled any more.
fn cancellable_until(subscription: &Subscription, context: &Context<'_>) -> Option<Value> {
    let window = match subscription.kind {
        Kind::NewCommerce | Kind::Marketplace => SEAT_WINDOW,
        Kind::SoftwareSubscription => SOFTWARE_WINDOW,
        Kind::AzurePlan | Kind::SavingsPlan => return Some(Value::Null),
        _ => return None,
    };
    let until = subscription.created + window;
    let open = !subscription.window_passed && until > context.start;
    Some(if open { json!(date(until)) } else { json!(date(subscription.created)) })
}

fn product_type(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::NewCommerce => Some("OnlineServicesNCE"),
        Kind::SoftwareSubscription => Some("Software"),
        Kind::AzurePlan | Kind::SavingsPlan => Some("Azure"),
        _ => None,
    }
}

fn unit_type(kind: Kind) -> &'static str {
    match kind {
        Kind::LegacyAzure | Kind::AzurePlan => "Usage-based",
        Kind::SavingsPlan => "Benefit",
        Kind::Marketplace => "License(s)",
        _ => "Licenses",
    }
}

fn billing_type(kind: Kind) -> &'static str {
    match kind {
        Kind::LegacyAzure | Kind::AzurePlan => "usage",
        Kind::SavingsPlan => "benefit",
        _ => "license",
    }
}
