//! The checks behind the journal's breaches.

use super::api::Context;
use super::call::Call;
use super::journal::BreachKind;
use super::life::{Life, Moment};
use super::options::Options;
use super::route::{Route, Template};
use super::world::{Account, Tenant};

/// A finding: what, and in words.
pub(crate) type Finding = (BreachKind, String);

/// Headers that every call, and further ones that every write, must carry.
pub(crate) fn headers(call: &Call) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let mut note = |text: String| wrong.push((BreachKind::BadHeader, text));
    if !call.header("Accept").is_some_and(|accept| accept.contains("application/json")) {
        note("Accept is not application/json".to_owned());
    }
    if !call.is_write() {
        return wrong;
    }
    for name in ["MS-RequestId", "MS-CorrelationId"] {
        let value = call.header(name).unwrap_or_default();
        if value.len() != 36 || uuid::Uuid::try_parse(value).is_err() {
            note(format!("{name} is no GUID: {value:?}"));
        }
    }
    let json = |kind: &str| kind.to_ascii_lowercase().starts_with("application/json");
    if !call.body.is_empty() && !call.header("Content-Type").is_some_and(json) {
        note("Content-Type is not application/json".to_owned());
    }
    wrong
}

/// A write whose id has not been seen before, against what was asked of the same resource.
pub(crate) fn new_write(
    life: &Life,
    resource: &str,
    id: &str,
    now: Moment,
    options: &Options,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(earlier) = life.unsettled.as_ref().filter(|earlier| *earlier != id) {
        let text = format!("{resource}: {earlier} has had no usable answer, now comes {id}");
        found.push((BreachKind::NewIdOnUnsettled, text));
    } else if life.needs_no_write(now, options.allowances.reissue_after) {
        let text = format!("{resource}: what {id} asks for was accepted before");
        found.push((BreachKind::RedundantWrite, text));
    }
    found
}

/// A write while another is being answered. A repetition under the same id is none: a client that
/// gave up waiting cannot know that the server has not.
pub(crate) fn overlapping(life: &Life, resource: &str, id: &str, now: Moment) -> Option<Finding> {
    let other = life.in_flight.as_ref().filter(|other| other.until > now && other.id != id)?;
    let text = format!("{resource}: {id} arrives while {} is being answered", other.id);
    Some((BreachKind::ConcurrentWrites, text))
}

/// What a DELETE rests on.
pub(crate) fn delete(account: &Account, tenant: &Tenant, context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let fresh = unread(account, tenant, context);
    if !fresh.is_empty() {
        let text = format!(
            "{}: not read completely in the {} s before: {}",
            tenant.id,
            context.options.allowances.inventory_age.as_secs(),
            fresh.join(", ")
        );
        found.push((BreachKind::DeleteWithoutInventory, text));
    }
    let known = known_active(tenant, context.now, fresh.is_empty());
    if !known.is_empty() {
        let text = format!("{}: active: {}", tenant.id, known.join(", "));
        found.push((BreachKind::DeleteWhileActive, text));
    }
    found
}

/// The lists that have no complete reading within the allowed age.
fn unread(account: &Account, tenant: &Tenant, context: &Context<'_>) -> Vec<&'static str> {
    let allowances = &context.options.allowances;
    let is_old = |since: Moment| {
        let took = account.read_times.took(tenant.id, since, context.now);
        let age = (allowances.inventory_age + took).min(allowances.longest_reading);
        since + age + allowances.inventory_latency < context.now
    };
    let readings = &tenant.readings;
    // What an app without a user is refused there is nothing to be had of, also for other tenants.
    let by_option = !context.user && !context.options.entitlements_app_only;
    let refused = by_option || account.entitlements.are_refused_to_all;
    [
        ("customers", account.customers_read),
        ("orders", readings.orders),
        ("subscriptions", readings.subscriptions),
        ("entitlements", readings.entitlements),
    ]
    .into_iter()
    .filter(|(name, _)| !(refused && *name == "entitlements"))
    .filter(|(_, since)| since.is_none_or(is_old))
    .map(|(name, _)| name)
    .collect()
}

/// Active things that the client was last shown as active, or that it would have found had it
/// looked. What is hidden, or came back or appeared since a fresh look, it cannot know.
fn known_active(tenant: &Tenant, now: Moment, has_looked: bool) -> Vec<String> {
    let known = |life: &Life| life.shown_active.unwrap_or(!has_looked);
    let orders = tenant.orders.iter().filter(|order| {
        let shown = order.life.shown_active;
        order.is_active(now) && known(&order.life) && !(order.hidden && shown.is_none())
    });
    let subscriptions = tenant.subscriptions.iter().filter(|s| s.is_active(now) && known(&s.life));
    orders
        .map(|order| order.id.clone())
        .chain(subscriptions.map(|subscription| subscription.id.clone()))
        .collect()
}

/// A write that the fact sheet knows no endpoint for.
pub(crate) fn unknown_write(call: &Call, route: &Route) -> Option<Finding> {
    let known = matches!(
        (call.method.as_str(), route.template),
        ("GET", _)
            | ("DELETE", Template::Customer)
            | ("PATCH", Template::Order | Template::Subscription)
            | ("POST", Template::Activate | Template::AzureCancel)
    );
    (!known).then(|| (BreachKind::UnknownWrite, format!("{} {}", call.method, call.path)))
}
