//! `entitlements`: what the order lines entitle to, with included ones nested inside.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::call::Call;
use super::super::world::{Entitled, Order, Tenant};
use super::{Context, Outcome, collection, faults, later, link};

pub(crate) fn list(tenant: &Tenant, call: &Call, context: &Context<'_>) -> Outcome {
    if !context.user && !context.options.entitlements_app_only {
        return faults::fault(403, 900329, "App-only authentication is not supported here.");
    }
    let wanted = call.parameter("entitlementType");
    let expiry = call.parameter("showExpiry").is_some_and(|show| show.eq_ignore_ascii_case("true"));
    let at = context.listed();
    let listed = tenant.orders.iter().filter(|order| {
        !order.hidden && order.life.exists(at) && order.life.status(at) != "cancelled"
    });
    let mut items = Vec::new();
    for order in listed {
        for (number, line) in order.lines.iter().enumerate() {
            let Some(entitled) = &line.entitled else { continue };
            let of_type = |t: &String| t.eq_ignore_ascii_case(entitled.entitlement_type);
            if line.quantity(at) == 0 || !wanted.as_ref().is_none_or(of_type) {
                continue;
            }
            let mut item = render(order, number, entitled, tenant.id);
            if expiry {
                item["expiryDate"] =
                    json!(later(order.created, std::time::Duration::from_hours(3 * 365 * 24)));
            }
            items.push(item);
        }
    }
    let page = collection::page(items, call, context);
    if wanted.is_some() { page.of_a_part() } else { page }
}

fn render(order: &Order, number: usize, entitled: &Entitled, customer: Uuid) -> Value {
    let included: Vec<Value> = entitled
        .included
        .iter()
        .map(|(product, sku)| one(order, number, entitled.entitlement_type, product, sku))
        .collect();
    let mut body =
        one(order, number, entitled.entitlement_type, entitled.product_id, entitled.sku_id);
    body["includedEntitlements"] = Value::Array(included);
    body["quantityDetails"] = json!([{ "quantity": 1, "status": "active" }]);
    if let Some(artifact) = entitled.artifact {
        let uri = format!("/customers/{customer}/artifacts/reservedinstance/{artifact}");
        body["entitledArtifacts"] = json!([{
            "link": link(uri),
            "artifactType": "reservedinstance",
            "resourceId": artifact,
        }]);
    }
    body
}

fn one(order: &Order, number: usize, entitlement_type: &str, product: &str, sku: &str) -> Value {
    let mut reference = json!({ "id": order.id, "lineItemId": number.to_string() });
    if let Some(alternate) = &order.alternate_id {
        reference["alternateId"] = json!(alternate);
    }
    json!({
        "includedEntitlements": [],
        "referenceOrder": reference,
        "productId": product,
        "quantity": 1,
        "entitledArtifacts": [],
        "skuId": sku,
        "entitlementType": entitlement_type,
    })
}
