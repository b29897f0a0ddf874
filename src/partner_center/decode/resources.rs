//! Resources: one JSON object in, one of the core's types out.

use serde_json::Value;

use super::Damaged;
use super::fields::Fields;
use crate::core::inventory::{
    AzureEntitlement, Customer, Entitlement, Order, OrderLine, Subscription,
};

/// Reads a customer, also one without an id, as the answer to a PATCH has been documented.
///
/// # Errors
/// When the value is not an object.
pub fn customer(value: &Value) -> Result<Customer, Damaged> {
    let fields = Fields::demand(value, "the customer")?;
    let profile = fields.object("companyProfile");
    let of_profile = |name: &str| profile.and_then(|profile| profile.text(name));
    Ok(Customer {
        id: fields.text("id"),
        tenant_id: of_profile("tenantId"),
        domain: of_profile("domain"),
        company_name: of_profile("companyName"),
        relationship: fields.text("relationshipToPartner"),
    })
}

/// Reads a customer that must say which one it is.
///
/// # Errors
/// When the value is not an object or has no id.
pub fn listed_customer(value: &Value) -> Result<Customer, Damaged> {
    let customer = customer(value)?;
    if customer.id.is_none() {
        return Err(Damaged::new("a customer has no id"));
    }
    Ok(customer)
}

/// Reads an order.
///
/// # Errors
/// When it is not an object, has no id, or its lines cannot be listed.
pub fn order(value: &Value) -> Result<Order, Damaged> {
    let fields = Fields::demand(value, "an order")?;
    let lines = fields.list("lineItems")?.iter().map(order_line).collect::<Result<_, _>>()?;
    Ok(Order {
        id: id(fields, "an order")?,
        alternate_id: fields.text("alternateId"),
        status: fields.word("status"),
        billing_cycle: fields.word("billingCycle"),
        transaction_type: fields.text("transactionType"),
        created_at: fields.time("creationDate"),
        lines,
        etag: etag(fields),
        raw: value.clone(),
    })
}

fn order_line(value: &Value) -> Result<OrderLine, Damaged> {
    let fields = Fields::demand(value, "a line of an order")?;
    Ok(OrderLine {
        number: fields.integer("lineItemNumber"),
        offer_id: fields.text("offerId"),
        subscription_id: fields.text("subscriptionId"),
        friendly_name: fields.text("friendlyName"),
        quantity: fields.integer("quantity"),
    })
}

/// Reads a subscription.
///
/// # Errors
/// When it is not an object or has no id.
pub fn subscription(value: &Value) -> Result<Subscription, Damaged> {
    let fields = Fields::demand(value, "a subscription")?;
    // An object with an id in every example; older answers may give the word alone.
    let product_type = match fields.object("productType") {
        Some(product_type) => product_type.word("id"),
        None => fields.word("productType"),
    };
    Ok(Subscription {
        id: id(fields, "a subscription")?,
        offer_id: fields.text("offerId"),
        name: fields.text("offerName").or_else(|| fields.text("friendlyName")),
        status: fields.word("status"),
        order_id: fields.text("orderId"),
        product_type,
        unit_type: fields.word("unitType"),
        billing_type: fields.word("billingType"),
        is_microsoft_product: fields.flag("isMicrosoftProduct"),
        parent_subscription_id: fields.text("parentSubscriptionId"),
        cancellation_allowed_until: fields.time("cancellationAllowedUntilDate"),
        created_at: fields.time("creationDate"),
        etag: etag(fields),
        raw: value.clone(),
    })
}

/// Reads an entitlement and, behind it, those it includes at any depth.
///
/// # Errors
/// When it, or one it includes, is not an object.
pub fn entitlement(value: &Value) -> Result<Vec<Entitlement>, Damaged> {
    let fields = Fields::demand(value, "an entitlement")?;
    let order = fields.object("referenceOrder");
    let of_order = |name: &str| order.and_then(|order| order.text(name));
    let mut all = vec![Entitlement {
        order_id: of_order("id"),
        alternate_order_id: of_order("alternateId"),
        entitlement_type: fields.word("entitlementType"),
        product_id: fields.text("productId"),
        sku_id: fields.text("skuId"),
        quantity: fields.integer("quantity"),
    }];
    for included in fields.list("includedEntitlements")? {
        all.extend(entitlement(included)?);
    }
    Ok(all)
}

/// Reads an Azure subscription of an Azure plan.
///
/// # Errors
/// When it is not an object or has no id.
pub fn azure_entitlement(value: &Value) -> Result<AzureEntitlement, Damaged> {
    let fields = Fields::demand(value, "an Azure entitlement")?;
    Ok(AzureEntitlement {
        id: id(fields, "an Azure entitlement")?,
        name: fields.text("friendlyName"),
        status: fields.word("status"),
    })
}

/// The partner's own legal business profile: what `check` shows of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LegalBusinessProfile {
    /// `companyName`.
    pub company_name: Option<String>,
    /// `address.country`.
    pub country: Option<String>,
    /// `vettingStatus`, in lower case.
    pub vetting_status: Option<String>,
}

/// Reads the legal business profile.
///
/// # Errors
/// When the value is not an object.
pub fn legal_business(value: &Value) -> Result<LegalBusinessProfile, Damaged> {
    let fields = Fields::demand(value, "the profile")?;
    Ok(LegalBusinessProfile {
        company_name: fields.text("companyName"),
        country: fields.object("address").and_then(|address| address.text("country")),
        vetting_status: fields.word("vettingStatus"),
    })
}

/// Whether a record of the audit log is of a customer deleted in an integration sandbox.
pub fn is_deletion_in_a_sandbox(record: &Value) -> bool {
    let operation = Fields::of(record).and_then(|fields| fields.word("operationType"));
    operation.is_some_and(|operation| operation.replace('_', "") == "deletetipcustomer")
}

/// Whether a value is a resource that says which one it is.
pub fn has_id(value: &Value) -> bool {
    Fields::of(value).is_some_and(|fields| fields.text("id").is_some())
}

/// What tells one item of a list from another: its id, or where it has none, all of it.
pub fn identity(value: &Value) -> String {
    let id = Fields::of(value).and_then(|fields| fields.text("id"));
    id.map_or_else(|| value.to_string(), |id| id.to_lowercase())
}

fn id(fields: Fields<'_>, what: &str) -> Result<String, Damaged> {
    fields.text("id").ok_or_else(|| Damaged(format!("{what} has no id")))
}

/// Modern resources have an empty etag or none: then none is sent either.
fn etag(fields: Fields<'_>) -> Option<String> {
    fields.object("attributes").and_then(|attributes| attributes.text("etag"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_resource_is_keyed_by_is_required() {
        assert_eq!(customer(&json!({})).unwrap(), Customer::default());
        assert_eq!(order(&json!({"id": 7})).unwrap().id, "7");
        assert_eq!(subscription(&json!({"ID": "s"})).unwrap().status, None);
        assert_eq!(azure_entitlement(&json!({"Id": "a"})).unwrap().id, "a");
        assert_eq!(entitlement(&json!({})).unwrap(), [Entitlement::default()]);
        for nameless in [json!({}), json!({"id": null}), json!({"id": " "}), json!([]), json!("x")]
        {
            assert!(order(&nameless).is_err(), "{nameless}");
            assert!(subscription(&nameless).is_err(), "{nameless}");
            assert!(azure_entitlement(&nameless).is_err(), "{nameless}");
            assert!(listed_customer(&nameless).is_err(), "{nameless}");
        }
    }

    #[test]
    fn deletions_in_a_sandbox_are_told_from_others() {
        let of = |operation: &str| is_deletion_in_a_sandbox(&json!({"OperationType": operation}));
        assert!(of("delete_tip_customer") && of("DeleteTipCustomer"));
        assert!(!of("delete_customer") && !is_deletion_in_a_sandbox(&json!([])));
    }

    #[test]
    fn invariant_6_a_nested_list_that_is_none_is_damage() {
        assert!(order(&json!({"id": "o", "lineItems": {}})).is_err());
        assert!(order(&json!({"id": "o", "lineItems": [null]})).is_err());
        assert!(entitlement(&json!({"includedEntitlements": "x"})).is_err());
    }

    #[test]
    fn pascal_case_subscriptions_are_read_whole() {
        let raw = json!({
            "Id": "83EF", "FriendlyName": "f", "Status": "Suspended", "UnitType": "Benefit",
            "BillingType": "License", "ProductType": {"Id": "OnlineServicesNCE"}, "OrderId": "0123456789ab",
            "IsMicrosoftProduct": false, "ParentSubscriptionId": null, "Attributes": {"Etag": ""},
            "CancellationAllowedUntilDate": "2021-11-14T23:59:00Z", "Unknown": {"kept": 1.0},
        });
        let read = subscription(&raw).unwrap();
        assert_eq!(read.status.as_deref(), Some("suspended"));
        assert_eq!(read.product_type.as_deref(), Some("onlineservicesnce"));
        assert_eq!(read.unit_type.as_deref(), Some("benefit"));
        assert_eq!(read.is_microsoft_product, Some(false));
        assert_eq!((read.etag, read.parent_subscription_id), (None, None));
        assert!(read.cancellation_allowed_until.is_some());
        assert_eq!(read.raw, raw);
    }

    #[test]
    fn included_entitlements_are_listed_at_any_depth() {
        let order = |id: &str| json!({"id": id, "alternateId": "0123456789ab"});
        let all = entitlement(&json!({
            "referenceOrder": order("a"), "entitlementType": "ReservedInstance", "quantity": "2",
            "includedEntitlements": [
                {"referenceOrder": order("b"), "includedEntitlements": [{"referenceOrder": order("c")}]},
                {"referenceOrder": order("d"), "includedEntitlements": null},
            ],
        }))
        .unwrap();
        let ids: Vec<_> = all.iter().filter_map(|e| e.order_id.as_deref()).collect();
        assert_eq!(ids, ["a", "b", "c", "d"]);
        assert_eq!(all[0].entitlement_type.as_deref(), Some("reservedinstance"));
        assert_eq!(all[0].quantity, Some(2));
    }
}
