//! The endpoints, one file per resource family. Handlers read and change the world; what the client
//! ought to have known or done is the journal's business, not theirs.

pub(crate) mod assertions;
pub(crate) mod azure;
pub(crate) mod collection;
pub(crate) mod customers;
pub(crate) mod entitlements;
pub(crate) mod faults;
pub(crate) mod orders;
pub(crate) mod profiles;
pub(crate) mod subscriptions;
pub(crate) mod tokens;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::life::{Life, Moment};
use super::options::Options;
use super::route::{Route, Template};
use super::world::Account;

/// What a handler may look at beside the world.
pub(crate) struct Context<'a> {
    pub(crate) now: Moment,
    pub(crate) start: Timestamp,
    pub(crate) options: &'a Options,
    /// Whether the token was issued for a user who signed in.
    pub(crate) user: bool,
    /// Accept writes and lose them.
    pub(crate) in_vain: bool,
    /// Serve a page that was served before.
    pub(crate) repeat_page: bool,
    /// How far lists lag behind.
    pub(crate) lag: Duration,
}

impl Context<'_> {
    /// The fault that says that a thing is not there: 3000, which says so of anything, or its own code.
    pub(crate) fn not_found(&self, thing: &str, code: u32, id: &str) -> Outcome {
        if self.options.generic_not_found {
            return faults::not_there(thing);
        }
        faults::fault(404, code, format!("The {} {id} was not found.", thing.to_lowercase()))
    }

    /// The moment that lists show.
    pub(crate) fn listed(&self) -> Moment {
        self.now.saturating_sub(self.lag)
    }

    /// Applies a write to a life.
    pub(crate) fn ask(&self, life: &mut Life, via: Option<&'static str>, goal: &'static str) {
        if self.in_vain {
            life.ask_in_vain(self.now, goal);
        } else {
            life.ask(self.now, via, goal);
        }
    }
}

/// What a handler answers.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
    /// A write that changed the world.
    pub(crate) applied: bool,
    /// A list whose last page this is, and when its first was asked for.
    pub(crate) complete_since: Option<Moment>,
    /// An answer of Partner Center, and not of a gateway before it.
    pub(crate) own: bool,
}

impl Outcome {
    pub(crate) fn ok(body: Value) -> Self {
        Self::with_status(200, Some(body))
    }

    pub(crate) fn with_status(status: u16, body: Option<Value>) -> Self {
        Self { status, headers: Vec::new(), body, applied: false, complete_since: None, own: true }
    }

    pub(crate) fn of_a_gateway(self) -> Self {
        Self { own: false, ..self }
    }

    pub(crate) fn applied(mut self) -> Self {
        self.applied = true;
        self
    }

    /// A list that was filtered: read to its end, it still tells nothing of the rest.
    pub(crate) fn of_a_part(self) -> Self {
        Self { complete_since: None, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Hands an authorised call to the handler of its endpoint.
pub(crate) fn dispatch(
    account: &mut Account,
    route: &Route,
    call: &Call,
    context: &Context<'_>,
) -> Outcome {
    match (call.method.as_str(), route.template) {
        ("GET", Template::LegalBusiness) => return profiles::legal_business(),
        ("GET", Template::Organization) => return profiles::organization(),
        ("GET", Template::AuditRecords) => return profiles::audit_records(account, call, context),
        ("GET", Template::Customers) => return customers::list(account, call, context),
        (_, Template::Unknown) => return faults::no_route(),
        _ => {}
    }
    let Some(id) = route.customer else { return faults::not_a_guid() };
    let Some(tenant) = account.tenant_mut(id) else { return faults::gone((404, 60003)) };
    if tenant.is_gone(context.now) {
        return faults::gone(tenant.gone_as);
    }
    match (call.method.as_str(), route.template) {
        ("GET", Template::Customer) => customers::get(tenant),
        ("DELETE", Template::Customer) => customers::delete(tenant, context),
        ("GET", Template::Entitlements) => entitlements::list(tenant, call, context),
        ("GET", Template::Orders) => orders::list(tenant, call, context),
        ("GET", Template::Order) => orders::get(tenant, route, context),
        ("PATCH", Template::Order) => orders::patch(tenant, route, call, context),
        ("GET", Template::Subscriptions) => subscriptions::list(tenant, call, context),
        ("GET", Template::Subscription) => subscriptions::get(tenant, route, context),
        ("PATCH", Template::Subscription) => subscriptions::patch(tenant, route, call, context),
        ("POST", Template::Activate) => subscriptions::activate(tenant, route, context),
        ("GET", Template::AzureEntitlements) => azure::list(tenant, route, call, context),
        ("GET", Template::AzureEntitlement) => azure::get(tenant, route, context),
        ("POST", Template::AzureCancel) => azure::cancel(tenant, route, call, context),
        _ => faults::no_route(),
    }
}

/// A link as Microsoft writes it.
pub(crate) fn link(uri: String) -> Value {
    json!({ "uri": uri, "method": "GET", "headers": [] })
}

/// A time with seven decimals, as the examples have it.
pub(crate) fn date(time: Timestamp) -> String {
    format!("{time:.7}")
}

/// A time `after` another.
pub(crate) fn later(time: Timestamp, after: Duration) -> String {
    date(time + after)
}

/// The product, SKU and availability links of an offer written `product:sku:availability`.
pub(crate) fn offer_links(links: &mut Map<String, Value>, offer_id: &str) {
    let parts: Vec<&str> = offer_id.split(':').collect();
    let [product, sku, availability] = parts.as_slice() else { return };
    let sku_uri = format!("/products/{product}/skus/{sku}");
    links.insert("product".into(), link(format!("/products/{product}?country=US")));
    links.insert("sku".into(), link(format!("{sku_uri}?country=US")));
    let availability = format!("{sku_uri}/availabilities/{availability}?country=US");
    links.insert("availability".into(), link(availability));
}

/// A body as JSON, without the byte order mark that some clients send back.
pub(crate) fn body_of(call: &Call) -> Option<Value> {
    let bytes = call.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&call.body);
    serde_json::from_slice(bytes).ok()
}

/// A text field of an object, whatever the case of its name.
pub(crate) fn text_of<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    field_of(object, name).and_then(Value::as_str)
}

/// A field of an object, whatever the case of its name.
pub(crate) fn field_of<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Every name of every object in it as `PascalCase`, which some PATCH answers have.
pub(crate) fn pascal_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (capitalised(&name), pascal_case(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(pascal_case).collect()),
        other => other,
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}
