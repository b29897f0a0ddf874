//! The calls of the API that the daemon makes, each with the class of requests it counts in, and
//! their addresses.

use std::fmt;

use url::Url;

use super::decode::Damaged;
use crate::core::budget::{Bucket, Resource};
use crate::core::command::{Action, Command};
use crate::core::observation::Read;

/// A call: its method and its path with names in place of ids. This, and never an address, stands in
/// errors, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// HTTP method.
    pub method: &'static str,
    /// Path below the API base.
    pub route: &'static str,
}

impl Call {
    /// Whether it goes to the token endpoint, and not to the API.
    pub(super) fn is_token(self) -> bool {
        self == TOKEN || self == TOKEN_V1
    }

    /// Whether it names no tenant: what fails then is the account's.
    pub(super) fn is_account_wide(self) -> bool {
        self == CUSTOMERS || self.is_token()
    }

    /// How far a tenant must have come for it. A write goes out only when what it rests on was read, and
    /// a DELETE only when every other write was answered.
    pub fn depth(self) -> u8 {
        match self.method {
            "GET" => 0,
            "DELETE" => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.route)
    }
}

macro_rules! calls {
    ($($name:ident = $method:literal $route:literal;)*) => {
        $(pub(super) const $name: Call = Call { method: $method, route: $route };)*

        /// Every call.
        pub const CALLS: &[Call] = &[$($name,)*];
    };
}

calls! {
    TOKEN = "POST" "/{tenant}/oauth2/v2.0/token";
    TOKEN_V1 = "POST" "/{tenant}/oauth2/token";
    LEGAL_BUSINESS = "GET" "/v1/profiles/legalbusiness";
    AUDIT_RECORDS = "GET" "/v1/auditrecords";
    CUSTOMERS = "GET" "/v1/customers";
    CUSTOMER = "GET" "/v1/customers/{customer}";
    ENTITLEMENTS = "GET" "/v1/customers/{customer}/entitlements";
    ORDERS = "GET" "/v1/customers/{customer}/orders";
    ORDER = "GET" "/v1/customers/{customer}/orders/{order}";
    SUBSCRIPTIONS = "GET" "/v1/customers/{customer}/subscriptions";
    SUBSCRIPTION = "GET" "/v1/customers/{customer}/subscriptions/{subscription}";
    AZURE_ENTITLEMENTS = "GET" "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements";
    AZURE_ENTITLEMENT = "GET" "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}";
    CANCEL_ORDER = "PATCH" "/v1/customers/{customer}/orders/{order}";
    CHANGE_SUBSCRIPTION = "PATCH" "/v1/customers/{customer}/subscriptions/{subscription}";
    CANCEL_AZURE = "POST" "/v1/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{entitlement}/cancel";
    ACTIVATE = "POST" "/v1/customers/{customer}/subscriptions/{subscription}/activate";
    DELETE_CUSTOMER = "DELETE" "/v1/customers/{customer}";
}

/// The call that a command is.
pub const fn call_of(action: Action) -> Call {
    match action {
        Action::CancelOrder => CANCEL_ORDER,
        Action::DeleteSubscription | Action::SuspendSubscription => CHANGE_SUBSCRIPTION,
        Action::CancelAzureEntitlement => CANCEL_AZURE,
        Action::ActivateSubscription => ACTIVATE,
        Action::DeleteCustomer => DELETE_CUSTOMER,
    }
}

/// The call that a read is.
pub const fn call_of_read(read: &Read) -> Call {
    match read {
        Read::Customer => CUSTOMER,
        Read::Census { .. } => CUSTOMERS,
        Read::Orders => ORDERS,
        Read::Order(_) => ORDER,
        Read::Subscriptions => SUBSCRIPTIONS,
        Read::Subscription(_) => SUBSCRIPTION,
        Read::Entitlements => ENTITLEMENTS,
        Read::AzureEntitlements(_) => AZURE_ENTITLEMENTS,
        Read::AzureEntitlement(..) => AZURE_ENTITLEMENT,
    }
}

/// What a command counts in: which permit it needs.
pub const fn bucket_of(command: &Command) -> Bucket {
    Bucket::of_customer(resource_of(command.intent.action), command.tenant_id)
}

const fn resource_of(action: Action) -> Resource {
    match action {
        Action::CancelOrder => Resource::Order,
        Action::DeleteSubscription
        | Action::SuspendSubscription
        | Action::CancelAzureEntitlement
        | Action::ActivateSubscription => Resource::Subscription,
        Action::DeleteCustomer => Resource::Customer,
    }
}

/// The address of a resource below the API base. Ids come from remote data and are encoded, so that
/// none can lead to another resource.
pub(super) fn address(base: &Url, segments: &[&str]) -> Result<Url, Damaged> {
    if let Some(odd) = segments.iter().find(|s| matches!(**s, "" | "." | "..")) {
        return Err(Damaged(format!("{odd:?} cannot be an id")));
    }
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Damaged::new("the API base has no path"))?
        .pop_if_empty()
        .push("v1")
        .extend(segments);
    Ok(url)
}

/// The address of a write, from the path that was derived for it. One that reads otherwise once it is
/// part of an address is refused.
pub(super) fn address_of(base: &Url, path: &str) -> Result<Url, Damaged> {
    let whole = format!("{}{path}", base.path().trim_end_matches('/'));
    let url = below(base, path.trim_start_matches('/'))?;
    let same = url.path() == whole && url.query().is_none() && url.fragment().is_none();
    if same { Ok(url) } else { Err(Damaged::new("the path of a write leads elsewhere")) }
}

/// The address of the next page of the list that was asked for at `list`. `links.next` is relative, with
/// or without `/v1`, or absolute. Only another page of the same list is followed: the token goes with the
/// request, and what another customer has bought must never be counted as this one's.
pub(super) fn next_address(base: &Url, list: &Url, uri: &str) -> Result<Url, Damaged> {
    let url = linked(base, uri)?;
    let place = |url: &Url| url.path().trim_end_matches('/').to_ascii_lowercase();
    if place(&url) == place(list) {
        Ok(url)
    } else {
        Err(Damaged::new("links.next leads to another list than the one that was asked for"))
    }
}

fn linked(base: &Url, uri: &str) -> Result<Url, Damaged> {
    if let Ok(absolute) = Url::parse(uri) {
        return within(base, absolute);
    }
    if uri.starts_with("//") || uri.starts_with('\\') || uri.starts_with("/\\") {
        return Err(Damaged::new("links.next leads away from the API base"));
    }
    let relative = uri.strip_prefix('/').unwrap_or(uri);
    match relative.get(..3) {
        Some(v1) if v1.eq_ignore_ascii_case("v1/") => below(base, relative),
        _ => below(base, &format!("v1/{relative}")),
    }
}

fn below(base: &Url, relative: &str) -> Result<Url, Damaged> {
    let text = format!("{}/{relative}", base.as_str().trim_end_matches('/'));
    let url = Url::parse(&text).map_err(|_| Damaged::new("an address is malformed"))?;
    within(base, url)
}

/// Refuses whatever is not below `{base}/v1/`; the URL is normalized by now, `..` included.
fn within(base: &Url, url: Url) -> Result<Url, Damaged> {
    let root = format!("{}/v1/", base.path().trim_end_matches('/'));
    let same_place = url.origin() == base.origin()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path().get(..root.len()).is_some_and(|p| p.eq_ignore_ascii_case(&root));
    if same_place { Ok(url) } else { Err(Damaged::new("an address leads away from the API base")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://api.example").unwrap()
    }

    fn customers() -> Url {
        address(&base(), &["customers"]).unwrap()
    }

    #[test]
    fn ids_cannot_lead_to_another_resource() {
        let url = address(&base(), &["customers", "c", "orders", "a/../b?x#y"]).unwrap();
        assert_eq!(url.as_str(), "https://api.example/v1/customers/c/orders/a%2F..%2Fb%3Fx%23y");
        for odd in ["", ".", ".."] {
            assert!(address(&base(), &["customers", odd]).is_err(), "{odd:?}");
        }
        let prefixed = Url::parse("http://127.0.0.1:81/sim/").unwrap();
        let url = address(&prefixed, &["customers"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:81/sim/v1/customers");
    }

    #[test]
    fn next_links_are_followed_below_the_api_base() {
        for uri in [
            "/customers?size=2&a=b",
            "customers?size=2&a=b",
            "/v1/customers?size=2&a=b",
            "V1/customers?size=2&a=b",
            "https://api.example/v1/customers?size=2&a=b",
            "https://API.example:443/v1/customers?size=2&a=b",
        ] {
            let url = next_address(&base(), &customers(), uri).unwrap();
            assert_eq!(url.as_str().to_lowercase(), "https://api.example/v1/customers?size=2&a=b");
        }
    }

    #[test]
    fn invariant_6_foreign_next_links_are_refused() {
        for uri in [
            "https://evil.example/v1/customers",
            "http://api.example/v1/customers",
            "https://api.example:444/v1/customers",
            "https://user:pw@api.example/v1/customers",
            "https://api.example@evil.example/v1/customers",
            "https://api.example/v2/customers",
            "//evil.example/v1/customers",
            "/\\evil.example/v1/customers",
            "/v1/../../elsewhere",
            "/../elsewhere",
            "ftp://api.example/v1/customers",
        ] {
            assert!(next_address(&base(), &customers(), uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn invariant_6_next_links_lead_only_to_the_list_that_was_asked_for() {
        let orders = address(&base(), &["customers", "c", "orders"]).unwrap();
        for uri in ["/customers/C/orders?seek=2", "v1/Customers/c/orders/?seek=2"] {
            assert!(next_address(&base(), &orders, uri).is_ok(), "{uri}");
        }
        for uri in [
            "/customers/d/orders?seek=2",
            "https://api.example/v1/customers/d/orders?seek=2",
            "/customers/c/subscriptions?seek=2",
            "/customers/c/orders/o",
            "/customers/c",
            "/customers",
            "/customers/c/../d/orders",
            "/customers/c/orders/../../d/orders",
            "/customers/c%2Forders",
        ] {
            assert!(next_address(&base(), &orders, uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn invariant_1_the_path_of_a_write_is_what_was_derived() {
        let path = "/v1/customers/c/orders/a%3Ab";
        assert_eq!(address_of(&base(), path).unwrap().path(), path);
        let prefixed = Url::parse("http://127.0.0.1:81/sim/").unwrap();
        assert_eq!(address_of(&prefixed, path).unwrap().path(), format!("/sim{path}"));
        for path in [
            "v1/customers/c",
            "//v1/customers/c",
            "/customers/c",
            "/v1/customers/c/orders/..",
            "/v1/customers/c/orders/%2e%2E",
            "/v1/customers/c/./orders",
            "/v1/customers/c?x=y",
            "/v1/customers/c#x",
            "/v1/customers/c\\d",
            "https://evil.example/v1/customers/c",
        ] {
            assert!(address_of(&base(), path).is_err(), "{path}");
        }
    }
}
