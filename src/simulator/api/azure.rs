//! `azureEntitlements`: the Azure subscriptions under an Azure plan.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::call::Call;
use super::super::life::Moment;
use super::super::purchase::Kind;
use super::super::route::Route;
use super::super::world::{AzureSubscription, Tenant};
use super::{Context, Outcome, body_of, collection, faults, subscriptions, text_of};

pub(crate) fn list(tenant: &Tenant, route: &Route, call: &Call, context: &Context<'_>) -> Outcome {
    let Some(index) = subscriptions::position(tenant, route, context) else {
        return subscriptions::not_found(&route.item, context);
    };
    let plan = &tenant.subscriptions[index];
    if plan.kind != Kind::AzurePlan {
        return faults::fault(400, 800002, "The subscription is not an Azure plan.");
    }
    let at = context.listed();
    let listed = plan.azure.iter().filter(|azure| azure.life.exists(at));
    collection::page(listed.map(|azure| render(azure, at)).collect(), call, context)
}

pub(crate) fn get(tenant: &Tenant, route: &Route, context: &Context<'_>) -> Outcome {
    match position(tenant, route, context) {
        Some((plan, index)) => {
            Outcome::ok(render(&tenant.subscriptions[plan].azure[index], context.now))
        }
        None => not_found(),
    }
}

/// Wants `{"cancellationReason": "compromise"}`, the only documented reason.
pub(crate) fn cancel(
    tenant: &mut Tenant,
    route: &Route,
    call: &Call,
    context: &Context<'_>,
) -> Outcome {
    let Some((plan, index)) = position(tenant, route, context) else { return not_found() };
    let body = body_of(call).unwrap_or(Value::Null);
    if text_of(&body, "cancellationReason") != Some("compromise") {
        return faults::fault(400, 900307, "The cancellation reason is not valid.");
    }
    let azure = &mut tenant.subscriptions[plan].azure[index];
    if azure.life.is_changing(context.now) {
        return faults::fault(409, 900278, "Another operation on the subscription is pending.");
    }
    if azure.life.status(context.now) != "active" {
        return faults::fault(400, 900118, "The Azure subscription is not active.");
    }
    context.ask(&mut azure.life, None, "inactive");
    let body = render(azure, context.now);
    Outcome::with_status(context.options.azure_cancel_status, Some(body)).applied()
}

pub(crate) fn position(
    tenant: &Tenant,
    route: &Route,
    context: &Context<'_>,
) -> Option<(usize, usize)> {
    let plan = subscriptions::position(tenant, route, context)?;
    let id = Uuid::try_parse(&route.entitlement).ok()?;
    let mut azure = tenant.subscriptions[plan].azure.iter();
    let index = azure.position(|azure| azure.id == id && azure.life.exists(context.now))?;
    Some((plan, index))
}

fn not_found() -> Outcome {
    faults::fault(404, 800111, "The Azure entitlement was not found.")
}

fn render(azure: &AzureSubscription, at: Moment) -> Value {
    json!({
        "id": azure.id,
        "friendlyName": azure.name,
        "status": azure.life.status(at),
        "subscriptionId": azure.id,
        "attributes": { "objectType": "AzureEntitlement" },
    })
}
