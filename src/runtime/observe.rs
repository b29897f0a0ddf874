//! The reading half of a pass: carries out the reads that the decision asked for, side by side.

use futures::future::join_all;

use crate::core::ids::TenantId;
use crate::core::inventory::{AzureEntitlement, Order, Subscription};
use crate::core::observation::{Census, CustomerSeen, Entitlements, Observation, Read, Seen};
use crate::partner_center::{ApiError, Client, Kind};

/// One fact, as read.
enum Fact {
    Customer(Seen<CustomerSeen>),
    Census(Seen<Census>),
    Orders(Seen<Vec<Order>>),
    Order(String, Seen<Option<Order>>),
    Subscriptions(Seen<Vec<Subscription>>),
    Subscription(String, Seen<Option<Subscription>>),
    Entitlements(Seen<Entitlements>),
    Azure(String, Seen<Vec<AzureEntitlement>>),
    AzureById(String, String, Seen<Option<AzureEntitlement>>),
}

async fn fetch(client: &Client, tenant: TenantId, read: Read) -> Result<Fact, ApiError> {
    Ok(match read {
        Read::Customer => Fact::Customer(client.customer(tenant).await?),
        Read::Census { not_before } => Fact::Census(client.census(tenant, not_before).await?),
        Read::Orders => Fact::Orders(client.orders(tenant).await?),
        Read::Order(id) => {
            let seen = client.order(tenant, &id).await?;
            Fact::Order(id, seen)
        }
        Read::Subscription(id) => {
            let seen = client.subscription(tenant, &id).await?;
            Fact::Subscription(id, seen)
        }
        Read::Subscriptions => Fact::Subscriptions(client.subscriptions(tenant).await?),
        Read::Entitlements => {
            let Seen { fact, at, took } = client.entitlements(tenant).await?;
            let fact = fact.map_or(Entitlements::Refused, Entitlements::Listed);
            Fact::Entitlements(Seen { fact, at, took })
        }
        Read::AzureEntitlements(plan) => {
            let seen = client.azure_entitlements(tenant, &plan).await?;
            Fact::Azure(plan, seen)
        }
        Read::AzureEntitlement(plan, id) => {
            let seen = client.azure_entitlement(tenant, &plan, &id).await?;
            Fact::AzureById(plan, id, seen)
        }
    })
}

/// Reads all of these and enters what came into `seen`.
///
/// # Errors
/// The answerless read that weighs most: one that halts the account before one that is the account's, and that
/// before the rest in the order given. The facts that the others brought are entered all the same. Where the
/// customer reads as gone, nothing else of it can be read, and that is no error.
pub async fn observe(
    client: &Client,
    tenant: TenantId,
    reads: Vec<Read>,
    seen: &mut Observation,
) -> Result<(), ApiError> {
    let fetched = reads.into_iter().map(|read| async move {
        let of_customer = !matches!(read, Read::Census { .. });
        (of_customer, fetch(client, tenant, read).await)
    });
    let answers = join_all(fetched).await;
    seen.ahead = client.wall_ahead();
    let mut errors = Vec::new();
    for (of_customer, answer) in answers {
        match answer {
            Ok(fact) => enter(seen, fact),
            Err(error) => errors.push((of_customer, error)),
        }
    }
    let gone = seen.customer.as_ref().is_some_and(|c| matches!(c.fact, CustomerSeen::Gone { .. }));
    let of_tenant = |error: &ApiError| {
        matches!(error.kind(), Kind::Transient | Kind::CustomerGone | Kind::Refused(_))
    };
    errors.retain(|(of_customer, error)| !(gone && *of_customer && of_tenant(error)));
    let lightness = |error: &ApiError| match error.kind() {
        Kind::SafetyStop => 0,
        _ if error.is_account_wide() => 1,
        _ => 2,
    };
    let errors = errors.into_iter().map(|(_, error)| error);
    errors.min_by_key(lightness).map_or(Ok(()), Err)
}

fn enter(seen: &mut Observation, fact: Fact) {
    match fact {
        Fact::Customer(read) => seen.customer = Some(read),
        Fact::Census(mut read) => {
            let lacked = seen.census.as_ref().is_some_and(|list| list.fact.entry.is_none());
            // Begun after the doubt: after the round in which the tenant was missed.
            let begun_after = seen.rounds.last().is_none_or(|round| round.ended <= read.at);
            read.fact.again = lacked && begun_after;
            seen.census = Some(read);
        }
        Fact::Orders(read) => seen.orders = Some(read),
        Fact::Order(id, read) => {
            seen.named_orders.insert(id, read);
        }
        Fact::Subscription(id, read) => {
            seen.named_subscriptions.insert(id, read);
        }
        Fact::Subscriptions(read) => seen.subscriptions = Some(read),
        Fact::Entitlements(read) => seen.entitlements = Some(read),
        Fact::Azure(plan, read) => {
            seen.azure.insert(plan, read);
        }
        Fact::AzureById(plan, id, read) => {
            seen.named_azure.insert((plan, id), read);
        }
    }
}
