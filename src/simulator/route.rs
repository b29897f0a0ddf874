//! Which endpoint a path names.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// The endpoints (fact sheet, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Template {
    /// `/{tenant}/oauth2/token`
    TokenV1,
    /// `/{tenant}/oauth2/v2.0/token`
    TokenV2,
    /// `/v1/customers`
    Customers,
    /// `/v1/customers/{customer}`
    Customer,
    /// `/v1/customers/{customer}/entitlements`
    Entitlements,
    /// `/v1/customers/{customer}/orders`
    Orders,
    /// `/v1/customers/{customer}/orders/{order}`
    Order,
    /// `/v1/customers/{customer}/subscriptions`
    Subscriptions,
    /// `/v1/customers/{customer}/subscriptions/{subscription}`
    Subscription,
    /// `/v1/customers/{customer}/subscriptions/{subscription}/activate`
    Activate,
    /// `/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements`
    AzureEntitlements,
    /// `/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}`
    AzureEntitlement,
    /// `/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}/cancel`
    AzureCancel,
    /// `/v1/profiles/legalbusiness`
    LegalBusiness,
    /// `/v1/profiles/organization`
    Organization,
    /// `/v1/auditrecords`
    AuditRecords,
    /// Anything else.
    Unknown,
}

impl Template {
    /// The path, with the names of its variable parts in braces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenV1 => "/{tenant}/oauth2/token",
            Self::TokenV2 => "/{tenant}/oauth2/v2.0/token",
            Self::Customers => "/v1/customers",
            Self::Customer => "/v1/customers/{customer}",
            Self::Entitlements => "/v1/customers/{customer}/entitlements",
            Self::Orders => "/v1/customers/{customer}/orders",
            Self::Order => "/v1/customers/{customer}/orders/{order}",
            Self::Subscriptions => "/v1/customers/{customer}/subscriptions",
            Self::Subscription => "/v1/customers/{customer}/subscriptions/{subscription}",
            Self::Activate => "/v1/customers/{customer}/subscriptions/{subscription}/activate",
            Self::AzureEntitlements => {
                "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements"
            }
            Self::AzureEntitlement => {
                "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}"
            }
            Self::AzureCancel => {
                "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}/cancel"
            }
            Self::LegalBusiness => "/v1/profiles/legalbusiness",
            Self::Organization => "/v1/profiles/organization",
            Self::AuditRecords => "/v1/auditrecords",
            Self::Unknown => "?",
        }
    }

    /// Whether GET answers a list.
    pub(crate) const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Customers
                | Self::Entitlements
                | Self::Orders
                | Self::Subscriptions
                | Self::AzureEntitlements
                | Self::AuditRecords
        )
    }

    /// Which of the API's counters a request falls under.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Orders | Self::Order => Class::Order,
            Self::Subscriptions
            | Self::Subscription
            | Self::Activate
            | Self::AzureEntitlements
            | Self::AzureEntitlement
            | Self::AzureCancel => Class::Subscription,
            Self::TokenV1
            | Self::TokenV2
            | Self::Customers
            | Self::Customer
            | Self::Entitlements
            | Self::LegalBusiness
            | Self::Organization
            | Self::AuditRecords
            | Self::Unknown => Class::Customer,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Resource classes that the API counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    Customer,
    Order,
    Subscription,
}

/// A path, taken apart. Parts that the template does not have are empty.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) template: Template,
    /// The customer, if its part of the path is a GUID.
    pub(crate) customer: Option<Uuid>,
    /// The order or subscription; the partner tenant of a token request.
    pub(crate) item: String,
    /// The Azure entitlement.
    pub(crate) entitlement: String,
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<String> =
            path.trim_matches('/').split('/').map(str::to_ascii_lowercase).collect();
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        // Ids are taken as written, the names around them without case.
        let raw: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (template, customer, item, entitlement) = match names.as_slice() {
            [_, "oauth2", "token"] => (Template::TokenV1, "", raw[0], ""),
            [_, "oauth2", "v2.0", "token"] => (Template::TokenV2, "", raw[0], ""),
            ["v1", "profiles", "legalbusiness"] => (Template::LegalBusiness, "", "", ""),
            ["v1", "profiles", "organization"] => (Template::Organization, "", "", ""),
            ["v1", "auditrecords"] => (Template::AuditRecords, "", "", ""),
            ["v1", "customers"] => (Template::Customers, "", "", ""),
            ["v1", "customers", _] => (Template::Customer, raw[2], "", ""),
            ["v1", "customers", _, "entitlements"] => (Template::Entitlements, raw[2], "", ""),
            ["v1", "customers", _, "orders"] => (Template::Orders, raw[2], "", ""),
            ["v1", "customers", _, "orders", _] => (Template::Order, raw[2], raw[4], ""),
            ["v1", "customers", _, "subscriptions", rest @ ..] => match rest {
                [] => (Template::Subscriptions, raw[2], "", ""),
                [_] => (Template::Subscription, raw[2], raw[4], ""),
                [_, "activate"] => (Template::Activate, raw[2], raw[4], ""),
                [_, "azureentitlements"] => (Template::AzureEntitlements, raw[2], raw[4], ""),
                [_, "azureentitlements", _] => (Template::AzureEntitlement, raw[2], raw[4], raw[6]),
                [_, "azureentitlements", _, "cancel"] => {
                    (Template::AzureCancel, raw[2], raw[4], raw[6])
                }
                _ => (Template::Unknown, raw[2], "", ""),
            },
            ["v1", "customers", _, ..] => (Template::Unknown, raw[2], "", ""),
            _ => (Template::Unknown, "", "", ""),
        };
        Self {
            template,
            customer: Uuid::try_parse(customer).ok(),
            item: item.to_owned(),
            entitlement: entitlement.to_owned(),
        }
    }
}
