//! What a customer has bought, as read from Partner Center.
//!
//! The field names are Microsoft's. Every field is optional on the wire; statuses are open text and
//! compared without case. The raw JSON is kept, because a subscription is changed by sending back
//! the whole resource.

use jiff::Timestamp;
use serde_json::Value;

/// A customer of the account (`GET /v1/customers/{id}` or an item of the list).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Customer {
    /// `id` as it stands in the body.
    pub id: Option<String>,
    /// `companyProfile.tenantId`.
    pub tenant_id: Option<String>,
    /// `companyProfile.domain`.
    pub domain: Option<String>,
    /// `companyProfile.companyName`.
    pub company_name: Option<String>,
    /// `relationshipToPartner`: `reseller` or `none`, as read.
    pub relationship: Option<String>,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderLine {
    /// `lineItemNumber`.
    pub number: Option<i64>,
    /// `offerId`.
    pub offer_id: Option<String>,
    /// `subscriptionId`.
    pub subscription_id: Option<String>,
    /// `friendlyName`.
    pub friendly_name: Option<String>,
    /// `quantity`.
    pub quantity: Option<i64>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `id`: a GUID (legacy), 33 characters of base64url, or about 12 hexadecimal digits.
    pub id: String,
    /// `alternateId`: the short form of the same order.
    pub alternate_id: Option<String>,
    /// `status`, in lower case; `None` where the answer has none.
    pub status: Option<String>,
    /// `billingCycle`, in lower case.
    pub billing_cycle: Option<String>,
    /// `transactionType`.
    pub transaction_type: Option<String>,
    /// `creationDate`, where it can be read as a time.
    pub created_at: Option<Timestamp>,
    /// `lineItems`.
    pub lines: Vec<OrderLine>,
    /// `attributes.etag`, where there is one.
    pub etag: Option<String>,
    /// The resource as read.
    pub raw: Value,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `id`.
    pub id: String,
    /// `offerId`.
    pub offer_id: Option<String>,
    /// `offerName` or `friendlyName`.
    pub name: Option<String>,
    /// `status`, in lower case: `none`, `active`, `pending`, `suspended`, `expired`, `disabled`,
    /// `deleted`, or anything else.
    pub status: Option<String>,
    /// `orderId`: either form of the order's id.
    pub order_id: Option<String>,
    /// `productType.id`, in lower case.
    pub product_type: Option<String>,
    /// `unitType`, in lower case.
    pub unit_type: Option<String>,
    /// `billingType`, in lower case.
    pub billing_type: Option<String>,
    /// `isMicrosoftProduct`.
    pub is_microsoft_product: Option<bool>,
    /// `parentSubscriptionId`: this is an add-on of that subscription.
    pub parent_subscription_id: Option<String>,
    /// `cancellationAllowedUntilDate`, where it can be read as a time.
    pub cancellation_allowed_until: Option<Timestamp>,
    /// `creationDate`, where it can be read as a time.
    pub created_at: Option<Timestamp>,
    /// `attributes.etag`, where there is one that is not empty.
    pub etag: Option<String>,
    /// The resource as read, every field kept.
    pub raw: Value,
}

/// An entitlement; included ones are listed beside the one that includes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entitlement {
    /// `referenceOrder.id`.
    pub order_id: Option<String>,
    /// `referenceOrder.alternateId`.
    pub alternate_order_id: Option<String>,
    /// `entitlementType`, in lower case: `software`, `reservedinstance`, or anything else.
    pub entitlement_type: Option<String>,
    /// `productId`.
    pub product_id: Option<String>,
    /// `skuId`.
    pub sku_id: Option<String>,
    /// `quantity`.
    pub quantity: Option<i64>,
}

/// An Azure subscription under an Azure plan (`…/subscriptions/{plan}/azureEntitlements`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureEntitlement {
    /// `id`.
    pub id: String,
    /// `friendlyName`.
    pub name: Option<String>,
    /// `status`, in lower case: `active` or `inactive`.
    pub status: Option<String>,
}
