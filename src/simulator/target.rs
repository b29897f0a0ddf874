//! What a write is aimed at.

use super::api::{Context, azure, orders, subscriptions};
use super::life::{Life, Moment};
use super::route::{Route, Template};
use super::world::{Account, GONE, Order, Subscription, Tenant};

/// The life that a write wants to change, and the resource's own path.
pub(crate) fn of_write<'a>(
    account: &'a mut Account,
    method: &str,
    route: &Route,
    context: &Context<'_>,
) -> Option<(String, &'a mut Life)> {
    let tenant = account.tenant_mut(route.customer?)?;
    let customer = format!("customers/{}", tenant.id);
    match (method, route.template) {
        ("DELETE", Template::Customer) => Some((customer, &mut tenant.life)),
        ("PATCH", Template::Order) => {
            let index = orders::position(tenant, route, context)?;
            let order = &mut tenant.orders[index];
            Some((format!("{customer}/orders/{}", order.id), &mut order.life))
        }
        ("PATCH", Template::Subscription) => {
            let subscription = subscription(tenant, route, context)?;
            let path = format!("{customer}/subscriptions/{}", subscription.id);
            Some((path, &mut subscription.life))
        }
        ("POST", Template::Activate) => {
            let subscription = subscription(tenant, route, context)?;
            let path = format!("{customer}/subscriptions/{}/activate", subscription.id);
            Some((path, subscription.activation.as_mut()?))
        }
        ("POST", Template::AzureCancel) => {
            let (plan, index) = azure::position(tenant, route, context)?;
            let plan = &mut tenant.subscriptions[plan];
            let azure = &mut plan.azure[index];
            let path =
                format!("{customer}/subscriptions/{}/azureEntitlements/{}", plan.id, azure.id);
            Some((path, &mut azure.life))
        }
        _ => None,
    }
}

fn subscription<'a>(
    tenant: &'a mut Tenant,
    route: &Route,
    context: &Context<'_>,
) -> Option<&'a mut Subscription> {
    let index = subscriptions::position(tenant, route, context)?;
    tenant.subscriptions.get_mut(index)
}

/// Notes what a whole answer to a read has shown: the states of what it lists or names, and, for the
/// last page of a list, that the list is complete.
pub(crate) fn note_reading(
    account: &mut Account,
    route: &Route,
    complete_since: Option<Moment>,
    context: &Context<'_>,
) {
    if route.template == Template::Customers {
        return note_customers(account, complete_since, context);
    }
    let Some(tenant) = route.customer.and_then(|id| account.tenant_mut(id)) else { return };
    let (now, listed) = (context.now, context.listed());
    let complete = complete_since.is_some();
    match route.template {
        Template::Customer => {
            let gone = tenant.is_gone(now);
            tenant.life.was_shown(now, tenant.life.status(now), !gone);
        }
        Template::Entitlements => {
            tenant.readings.entitlements = complete_since.or(tenant.readings.entitlements);
        }
        Template::Orders if complete => {
            tenant.readings.orders = complete_since;
            for order in tenant.orders.iter_mut().filter(|order| !order.hidden) {
                show_order(order, now, listed);
            }
            tenant.count_poll(now);
        }
        Template::Order => {
            if let Some(index) = orders::position(tenant, route, context) {
                show_order(&mut tenant.orders[index], now, now);
            }
        }
        Template::Subscriptions if complete => {
            tenant.readings.subscriptions = complete_since;
            let orders = &tenant.orders;
            let is_listed = |s: &Subscription| orders.get(s.order).is_none_or(|o| !o.hidden);
            for subscription in tenant.subscriptions.iter_mut().filter(|s| is_listed(s)) {
                show_subscription(subscription, now, listed);
            }
        }
        Template::Subscription => {
            if let Some(subscription) = subscription(tenant, route, context) {
                show_subscription(subscription, now, now);
            }
        }
        Template::AzureEntitlements if complete => {
            if let Some(plan) = subscription(tenant, route, context) {
                for azure in &mut plan.azure {
                    show_azure(&mut azure.life, now, listed);
                }
            }
        }
        Template::AzureEntitlement => {
            if let Some((plan, index)) = azure::position(tenant, route, context) {
                show_azure(&mut tenant.subscriptions[plan].azure[index].life, now, now);
            }
        }
        _ => {}
    }
}

fn note_customers(account: &mut Account, complete_since: Option<Moment>, context: &Context<'_>) {
    if complete_since.is_none() {
        return;
    }
    account.customers_read = complete_since;
    for tenant in &mut account.tenants {
        if tenant.is_gone(context.listed()) {
            tenant.life.was_shown(context.now, GONE, false);
        }
    }
}

fn show_order(order: &mut Order, now: Moment, at: Moment) {
    if order.life.exists(at) {
        let active = order.status_is_active(at);
        order.life.was_shown(now, order.life.status(at), active);
    }
}

fn show_subscription(subscription: &mut Subscription, now: Moment, at: Moment) {
    if subscription.life.exists(at) {
        let active = subscription.is_active(at);
        subscription.life.was_shown(now, subscription.life.status(at), active);
    }
}

fn show_azure(life: &mut Life, now: Moment, at: Moment) {
    if life.exists(at) {
        let status = life.status(at);
        life.was_shown(now, status, status == "active");
    }
}
