//! `customers`: the list, one of them, and DELETE.

use serde_json::{Value, json};

use super::super::call::Call;
use super::super::world::{Account, GONE, Tenant};
use super::{Context, Outcome, collection, faults, link};

pub(crate) fn list(account: &Account, call: &Call, context: &Context<'_>) -> Outcome {
    let listed = account.tenants.iter().filter(|tenant| !tenant.is_gone(context.listed()));
    collection::page(listed.map(summary).collect(), call, context)
}

pub(crate) fn get(tenant: &Tenant) -> Outcome {
    let id = tenant.id;
    let mut body = summary(tenant);
    body["commerceId"] = json!(tenant.commerce_id);
    let profile = link(format!("/customers/{id}/profiles/company"));
    body["companyProfile"]["address"] = json!({
        "country": "US",
        "region": "WA",
        "city": "Redmond",
        "addressLine1": "One Microsoft Way",
        "postalCode": "98052",
        "phoneNumber": "4255550101",
    });
    body["companyProfile"]["email"] = json!(format!("admin@{}", tenant.domain));
    body["companyProfile"]["links"] = json!({ "self": profile });
    body["billingProfile"] = billing_profile(tenant);
    body["allowDelegatedAccess"] = json!(true);
    body["customDomains"] = json!([tenant.domain]);
    body["links"] = json!({ "self": link(format!("/customers/{id}")) });
    Outcome::ok(body)
}

/// Refuses while anything is active, naming the orders in the text the way the real refusal does
/// (Partner-Center-PowerShell#215; its status and code are not known, hence options).
pub(crate) fn delete(tenant: &mut Tenant, context: &Context<'_>) -> Outcome {
    if tenant.cannot_be_deleted {
        return faults::fault(400, 2000, "The customer's address is not valid.");
    }
    if tenant.life.is_changing(context.now) {
        return faults::fault(409, 900278, "Another operation on the customer is in progress.");
    }
    let blocking = tenant.blocking_orders(context.now);
    if !blocking.is_empty() {
        return blocked(&blocking, context);
    }
    context.ask(&mut tenant.life, None, GONE);
    Outcome::with_status(204, None).applied()
}

fn blocked(orders: &[String], context: &Context<'_>) -> Outcome {
    let text = format!(
        "Customer relationship cannot be removed due to active Azure reserved instances, software \
         purchases or subscriptions. Cancel these orders first: {}",
        orders.join(", ")
    );
    let (status, code) = context.options.blocked_delete;
    match code {
        Some(code) => faults::fault(status, code, text),
        None => {
            let body = json!({ "description": text, "data": [], "source": "PartnerFD" });
            Outcome::with_status(status, Some(body))
        }
    }
}

fn summary(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "companyProfile": {
            "tenantId": tenant.id,
            "domain": tenant.domain,
            "companyName": tenant.company,
            "attributes": { "objectType": "CustomerCompanyProfile" },
        },
        "relationshipToPartner": tenant.relationship,
        "attributes": { "objectType": "Customer" },
    })
}

fn billing_profile(tenant: &Tenant) -> Value {
    let id = tenant.commerce_id;
    json!({
        "id": id,
        "email": format!("admin@{}", tenant.domain),
        "culture": "en-US",
        "language": "en",
        "companyName": tenant.company,
        "defaultAddress": {
            "country": "US",
            "city": "Redmond",
            "state": "WA",
            "addressLine1": "One Microsoft Way",
            "postalCode": "98052",
            "firstName": "Ada",
            "lastName": "Byron",
            "phoneNumber": "4255550101",
        },
        "links": { "self": link(format!("/customers/{}/profiles/billing", tenant.id)) },
        "attributes": { "etag": "-4242348048554929329", "objectType": "CustomerBillingProfile" },
    })
}
