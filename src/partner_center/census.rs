//! The account's complete customer list, read once for all tenants that ask at about the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::calls::{self, CUSTOMERS};
use super::client::Client;
use super::decode::{self, Damaged};
use super::error::ApiError;
use super::paging::Listing;
use crate::core::budget::{Bucket, Resource};
use crate::core::ids::TenantId;
use crate::core::inventory::Customer;
use crate::core::observation::{Census, CustomerList, Seen};

/// Asked for in one page: more than a sandbox's customers by far.
const PAGE_SIZE: &str = "500";

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
        let list = self.shared_customers(not_before).await?;
        let Seen { fact: CustomerList { customers, count, conclusive }, at } = list.as_ref();
        let entry = customers.iter().find(|customer| is_tenant(customer, tenant)).cloned();
        let census = Census { customers: *count, entry, conclusive: *conclusive };
        Ok(Seen { fact: census, at: *at })
    }

    /// Reads the customer list now, to see whether it can be.
    ///
    /// # Errors
    /// As [`census`](Self::census).
    pub async fn customer_list_anew(&self) -> Result<(), ApiError> {
        let now = self.wire.clock.now();
        self.shared_customers(Some(now)).await.map(|_| ())
    }

    /// The complete customer list itself, shared as in [`census`](Self::census).
    ///
    /// # Errors
    /// As [`census`](Self::census).
    pub async fn customer_list(&self) -> Result<Seen<CustomerList>, ApiError> {
        Ok(self.shared_customers(None).await?.as_ref().clone())
    }

    async fn shared_customers(
        &self,
        not_before: Option<Timestamp>,
    ) -> Result<Arc<Seen<CustomerList>>, ApiError> {
        let max_age = self.timeouts.census_max_age;
        let usable = |list: &Arc<Seen<CustomerList>>| {
            let age = self.wire.clock.now().duration_since(list.at);
            Duration::try_from(age).unwrap_or_default() <= max_age
                && not_before.is_none_or(|not_before| not_before <= list.at)
        };
        self.census.get(usable, self.read_and_note_customers()).await
    }

    async fn read_and_note_customers(&self) -> Result<Arc<Seen<CustomerList>>, ApiError> {
        let list = self.read_customers().await?;
        if let Err(text) = self.ledger.note_customers(&list).await {
            tracing::warn!(account = %self.wire.account, text, "a customer list was not noted");
        }
        Ok(Arc::new(list))
    }

    async fn read_customers(&self) -> Result<Seen<CustomerList>, ApiError> {
        let (first, first_ids) = self.read_customers_once().await?;
        if first.fact.conclusive {
            return Ok(first);
        }
        let (second, second_ids) = self.read_customers_once().await?;
        if second.fact.conclusive {
            return Ok(second);
        }
        if first_ids != second_ids {
            let what = Damaged::new("two readings of the customer list in a row disagree");
            return Err(ApiError::damaged(CUSTOMERS, what));
        }
        // What both say held from before the first one on, so that is how old the agreement is.
        Ok(Seen { fact: CustomerList { conclusive: true, ..second.fact }, at: first.at })
    }

    async fn read_customers_once(
        &self,
    ) -> Result<(Seen<CustomerList>, BTreeSet<String>), ApiError> {
        let mut url = calls::address(&self.base, &["customers"])
            .map_err(|damage| ApiError::damaged(CUSTOMERS, damage))?;
        url.query_pairs_mut().append_pair("size", PAGE_SIZE);
        let Listing { at, items, pages, last } =
            self.list(CUSTOMERS, Bucket::of_account(Resource::Customer), url).await?;
        let customers: Vec<Customer> = items
            .iter()
            .map(decode::listed_customer)
            .collect::<Result<_, _>>()
            .map_err(|damage| last.damaged(damage))?;
        let ids: BTreeSet<String> =
            customers.iter().filter_map(|c| c.id.as_deref()).map(str::to_lowercase).collect();
        let account = self.account().to_string();
        metrics::gauge!("teardownd_customers", "account" => account).set(ids.len() as f64);
        let fact = CustomerList { customers, count: ids.len(), conclusive: pages == 1 };
        Ok((Seen { fact, at }, ids))
    }
}

/// By either of the two ids: for the proof of absence neither may be there.
fn is_tenant(customer: &Customer, tenant: TenantId) -> bool {
    [&customer.id, &customer.tenant_id].into_iter().flatten().any(|id| id.parse() == Ok(tenant))
}
