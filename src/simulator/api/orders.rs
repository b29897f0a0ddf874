//! `orders`: list, one of them by id or `alternateId`, and cancellation by PATCH.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::call::Call;
use super::super::life::Moment;
use super::super::purchase::Kind;
use super::super::route::Route;
use super::super::world::{Line, Order, Tenant};
use super::{Context, Outcome, body_of, collection, date, faults, field_of, link, offer_links};

pub(crate) fn list(tenant: &Tenant, call: &Call, context: &Context<'_>) -> Outcome {
    let at = context.listed();
    let listed = tenant.orders.iter().filter(|order| !order.hidden && order.life.exists(at));
    let items = listed.map(|order| render(order, tenant.id, at)).collect();
    collection::page(items, call, context)
}

pub(crate) fn get(tenant: &Tenant, route: &Route, context: &Context<'_>) -> Outcome {
    match position(tenant, route, context) {
        Some(index) => Outcome::ok(render(&tenant.orders[index], tenant.id, context.now)),
        None => not_found(&route.item, context),
    }
}

/// `{"id": …, "status": "cancelled"}`, with `lineItems` for a part of the order.
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
    let order = &tenant.orders[index];
    let Some(body) = body_of(call) else { return faults::invalid_body("body") };
    if !super::text_of(&body, "id").is_some_and(|id| order.is_called(id)) {
        return faults::invalid_body("id");
    }
    if super::text_of(&body, "status") != Some("cancelled") {
        return faults::invalid_body("status");
    }
    if let Some(refusal) = refusal(order, now) {
        return refusal;
    }
    let lines = lines_of(&body);
    let partly = order.lines.iter().enumerate().any(|(number, line)| {
        line.quantity(now) > 0 && !lines.is_empty() && !lines.contains(&(number as u64))
    });
    if partly {
        cancel_lines(&mut tenant.orders[index], &lines, context);
    } else {
        cancel(tenant, index, context);
    }
    Outcome::ok(render(&tenant.orders[index], tenant.id, now)).applied()
}

fn refusal(order: &Order, now: Moment) -> Option<Outcome> {
    let fault = match (order.kind, order.life.status(now)) {
        (Kind::SavingsPlan, _) => {
            faults::fault(403, 900321, "A savings plan cannot be managed here.")
        }
        (Kind::Marketplace, _) => faults::fault(
            403,
            800077,
            "Seat-based software as a service is not cancelled by order.",
        ),
        (Kind::LegacyLicence | Kind::LegacyAzure | Kind::AzurePlan, _) => faults::fault(
            400,
            800063,
            "The order cannot be cancelled. Suspend its subscriptions instead.",
        ),
        (Kind::NewCommerce, _) | (_, "cancelled") => {
            faults::fault(400, 800061, "The order cannot be cancelled.")
        }
        (_, "pending") => faults::fault(409, 800060, "The order is in progress."),
        _ if order.window_passed => {
            faults::fault(400, 900213, "The time in which the order could be cancelled has passed.")
        }
        _ => return None,
    };
    Some(fault)
}

fn lines_of(body: &Value) -> Vec<u64> {
    let lines = field_of(body, "lineItems").and_then(Value::as_array);
    let numbers = lines.into_iter().flatten().filter_map(|line| field_of(line, "lineItemNumber"));
    numbers.filter_map(Value::as_u64).collect()
}

fn cancel_lines(order: &mut Order, lines: &[u64], context: &Context<'_>) {
    if context.in_vain {
        return;
    }
    let takes = order.life.takes;
    for (number, line) in order.lines.iter_mut().enumerate() {
        if lines.contains(&(number as u64)) && line.cancelled_at.is_none() {
            line.cancelled_at = Some(context.now + takes);
        }
    }
}

/// Cancels an order and, for a software subscription, the subscription that is the same purchase.
pub(crate) fn cancel(tenant: &mut Tenant, index: usize, context: &Context<'_>) {
    context.ask(&mut tenant.orders[index].life, Some("pending"), "cancelled");
    for subscription in tenant.subscriptions.iter_mut().filter(|s| s.order == index) {
        context.ask(&mut subscription.life, None, "deleted");
    }
}

pub(crate) fn position(tenant: &Tenant, route: &Route, context: &Context<'_>) -> Option<usize> {
    tenant
        .orders
        .iter()
        .position(|order| order.is_called(&route.item) && order.life.exists(context.now))
}

fn not_found(id: &str, context: &Context<'_>) -> Outcome {
    context.not_found("Order", 20000, id)
}

fn render(order: &Order, customer: Uuid, at: Moment) -> Value {
    let own = format!("/customers/{customer}/orders/{}", order.id);
    let mut body = Map::new();
    body.insert("id".into(), json!(order.id));
    if let Some(alternate) = &order.alternate_id {
        body.insert("alternateId".into(), json!(alternate));
    }
    body.insert("referenceCustomerId".into(), json!(customer));
    body.insert("billingCycle".into(), json!(order.billing_cycle));
    body.insert("currencyCode".into(), json!("USD"));
    body.insert("currencySymbol".into(), json!("$"));
    let lines = order.lines.iter().enumerate();
    let lines: Vec<Value> =
        lines.map(|(number, line)| render_line(line, number, customer, at)).collect();
    body.insert("lineItems".into(), Value::Array(lines));
    body.insert("creationDate".into(), json!(date(order.created)));
    body.insert("status".into(), json!(order.life.status(at)));
    if order.kind != Kind::Reservation {
        body.insert("transactionType".into(), json!("UserPurchase"));
    }
    let links = json!({
        "provisioningStatus": link(format!("{own}/provisioningstatus")),
        "self": link(own),
    });
    body.insert("links".into(), links);
    body.insert("attributes".into(), json!({ "objectType": "Order" }));
    Value::Object(body)
}

fn render_line(line: &Line, number: usize, customer: Uuid, at: Moment) -> Value {
    let mut links = Map::new();
    offer_links(&mut links, &line.offer_id);
    let mut body = Map::new();
    body.insert("lineItemNumber".into(), json!(number));
    body.insert("offerId".into(), json!(line.offer_id));
    if let Some(subscription) = &line.subscription_id {
        body.insert("subscriptionId".into(), json!(subscription));
        let own = format!("/customers/{customer}/subscriptions/{subscription}");
        links.insert("subscription".into(), link(own));
    }
    body.insert("termDuration".into(), json!(line.term));
    body.insert("transactionType".into(), json!("New"));
    body.insert("friendlyName".into(), json!(line.name));
    body.insert("quantity".into(), json!(line.quantity(at)));
    body.insert("links".into(), Value::Object(links));
    Value::Object(body)
}
