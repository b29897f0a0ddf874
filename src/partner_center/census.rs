//! The account's complete customer list, read once for all tenants that ask at about the same time.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::calls::{self, CUSTOMERS};
use super::client::Client;
use super::decode::{self, Damaged};
use super::error::ApiError;
use super::paging::Listing;
use crate::core::budget::{Bucket, Resource};
use crate::core::freshness::JUST_READ;
use crate::core::ids::TenantId;
use crate::core::inventory::Customer;
use crate::core::observation::{Census, CustomerList, Seen};

/// Asked for in one page: more than a sandbox's customers by far.
const PAGE_SIZE: &str = "500";

/// The list read once.
struct Reading {
    list: Seen<CustomerList>,
    ids: BTreeSet<String>,
    pages: usize,
}

impl Client {
    /// The complete customer list, as far as one tenant needs it. A list is shared with every caller
    /// whose `not_before` lies no later than the start of its reading.
    ///
    /// A customer that it lacks is not there: it came in one page, or two complete readings in a row agree. While
    /// other customers are being deleted, pages shift under the reader.
    ///
    /// # Errors
    /// When any page could not be read, or the whole is not certain to be complete (invariant 6).
    pub async fn census(
        &self,
        tenant: TenantId,
        not_before: Timestamp,
    ) -> Result<Seen<Census>, ApiError> {
        let list = self.shared_customers(not_before).await?;
        let Seen { fact: CustomerList { customers, count }, at, took } = list.as_ref();
        let entry = customers.iter().find(|customer| is_tenant(customer, tenant)).cloned();
        let census = Census { customers: *count, entry, again: false };
        Ok(Seen { fact: census, at: *at, took: *took })
    }

    /// Reads the customer list now, to see whether it can be.
    ///
    /// # Errors
    /// As [`census`](Self::census).
    pub async fn customer_list_anew(&self) -> Result<(), ApiError> {
        self.shared_customers(self.wire.clock.now()).await.map(|_| ())
    }

    /// The complete customer list itself, as it is now or was a moment ago.
    ///
    /// # Errors
    /// As [`census`](Self::census).
    pub async fn customer_list(&self) -> Result<Seen<CustomerList>, ApiError> {
        let now = self.wire.clock.now();
        let not_before = now.checked_sub(JUST_READ).unwrap_or(now);
        Ok(self.shared_customers(not_before).await?.as_ref().clone())
    }

    async fn shared_customers(
        &self,
        not_before: Timestamp,
    ) -> Result<Arc<Seen<CustomerList>>, ApiError> {
        let usable = |list: &Arc<Seen<CustomerList>>| not_before <= list.at;
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
        let first = self.read_customers_once().await?;
        if first.pages == 1 {
            return Ok(first.list);
        }
        let second = self.read_customers_once().await?;
        if second.pages == 1 {
            return Ok(second.list);
        }
        if first.ids != second.ids {
            let what = Damaged::new("two readings of the customer list in a row disagree");
            return Err(ApiError::damaged(CUSTOMERS, what));
        }
        // What both say held from before the first one on, so that is how old the agreement is.
        Ok(Seen { at: first.list.at, took: first.list.took + second.list.took, ..second.list })
    }

    async fn read_customers_once(&self) -> Result<Reading, ApiError> {
        let mut url = calls::address(&self.base, &["customers"])
            .map_err(|damage| ApiError::damaged(CUSTOMERS, damage))?;
        url.query_pairs_mut().append_pair("size", PAGE_SIZE);
        let Listing { at, took, items, pages, last } =
            self.list(CUSTOMERS, Bucket::of_account(Resource::Customer), url).await?;
        let customers: Vec<Customer> = items
            .iter()
            .map(decode::listed_customer)
            .collect::<Result<_, _>>()
            .map_err(|damage| last.damaged(damage))?;
        let ids: BTreeSet<String> =
            customers.iter().filter_map(|c| c.id.as_deref()).map(str::to_lowercase).collect();
        let list = Seen { fact: CustomerList { customers, count: ids.len() }, at, took };
        Ok(Reading { list, ids, pages })
    }
}

/// By either of the two ids: for the proof of absence neither may be there.
fn is_tenant(customer: &Customer, tenant: TenantId) -> bool {
    [&customer.id, &customer.tenant_id].into_iter().flatten().any(|id| id.parse() == Ok(tenant))
}
