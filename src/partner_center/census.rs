//! The account's complete customer list, read once for all tenants that ask at about the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::calls::{self, CUSTOMERS};
use super::client::Client;
use super::decode;
use super::error::ApiError;
use super::paging::Listing;
use crate::core::budget::Resource;
use crate::core::ids::TenantId;
use crate::core::inventory::Customer;
use crate::core::observation::{Census, Seen};

/// Asked for in one page: more than a sandbox's customers by far.
const PAGE_SIZE: &str = "500";

/// A complete customer list.
#[derive(Debug)]
pub(super) struct CustomerList {
    at: Timestamp,
    customers: Vec<Customer>,
    ids: BTreeSet<String>,
    conclusive: bool,
}

impl Client {
    /// The complete customer list, as far as one tenant needs it. Lists are shared between tenants
    /// while they are no older than `timeouts.census_max_age`, and then only with callers whose
    /// `not_before` lies no later than the start of the reading.
    ///
    /// Its `conclusive` is true if the list came in one page, or if two complete readings in a row
    /// agree: while other customers are being deleted, pages shift under the reader.
    ///
    /// # Errors
    /// When any page could not be read, or the whole is not certain to be complete (invariant 6).
    pub async fn census(
        &self,
        tenant: TenantId,
        not_before: Option<Timestamp>,
    ) -> Result<Seen<Census>, ApiError> {
        let max_age = self.timeouts.census_max_age;
        let usable = |list: &Arc<CustomerList>| {
            let age = self.wire.clock.now().duration_since(list.at);
            Duration::try_from(age).unwrap_or_default() <= max_age
                && not_before.is_none_or(|not_before| not_before <= list.at)
        };
        let list = self.census.get(usable, self.read_customers()).await?;
        let census = Census {
            customers: list.ids.len(),
            entry: list.customers.iter().find(|customer| is_tenant(customer, tenant)).cloned(),
            conclusive: list.conclusive,
        };
        Ok(Seen { fact: census, at: list.at })
    }

    async fn read_customers(&self) -> Result<Arc<CustomerList>, ApiError> {
        let first = self.read_customers_once().await?;
        if first.conclusive {
            return Ok(Arc::new(first));
        }
        let second = self.read_customers_once().await?;
        if second.conclusive {
            return Ok(Arc::new(second));
        }
        // What both say held from before the first one on, so that is how old the agreement is.
        let agree = first.ids == second.ids;
        let at = if agree { first.at } else { second.at };
        Ok(Arc::new(CustomerList { at, conclusive: agree, ..second }))
    }

    async fn read_customers_once(&self) -> Result<CustomerList, ApiError> {
        let mut url = calls::address(&self.base, &["customers"])
            .map_err(|damage| ApiError::damaged(CUSTOMERS, damage))?;
        url.query_pairs_mut().append_pair("size", PAGE_SIZE);
        let Listing { at, items, pages } = self.list(CUSTOMERS, Resource::Customer, url).await?;
        let customers: Vec<Customer> = items
            .iter()
            .map(decode::listed_customer)
            .collect::<Result<_, _>>()
            .map_err(|damage| ApiError::damaged(CUSTOMERS, damage))?;
        let ids = customers.iter().filter_map(|c| c.id.as_deref()).map(str::to_lowercase).collect();
        let account = self.account().to_string();
        metrics::gauge!("teardownd_customers", "account" => account).set(customers.len() as f64);
        Ok(CustomerList { at, customers, ids, conclusive: pages == 1 })
    }
}

/// By either of the two ids: for the proof of absence neither may be there.
fn is_tenant(customer: &Customer, tenant: TenantId) -> bool {
    [&customer.id, &customer.tenant_id].into_iter().flatten().any(|id| id.parse() == Ok(tenant))
}
