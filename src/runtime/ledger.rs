//! The client's books, kept in the store: the request budget and the customers of the account.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::live::Live;
use crate::core::budget::{Ask, Budget, Grant, Limit};
use crate::core::clock::Clock;
use crate::core::ids::AccountName;
use crate::core::observation::{CustomerList, Seen};
use crate::partner_center::ledger::Ledger;
use crate::store::{CustomersRead, ListedCustomer, Store};

/// A grant may be used up to a second after it was given, so no 61 seconds of sends span more than
/// 62 seconds of grants.
pub const WINDOW: Duration = Duration::from_secs(62);

/// One customer gets at most this part of what the account may send.
const CUSTOMER_PART: u32 = 4;
/// A customer's part is not smaller than this: a teardown must get through its reads before the first
/// of them is stale.
const CUSTOMER_LEAST: u32 = 10;

/// The books of one account.
#[derive(Debug)]
pub struct StoreLedger {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    account: AccountName,
    requests_per_minute: Live<u32>,
}

impl StoreLedger {
    /// Opens the books of an account with a budget of `requests_per_minute` for each class, and a part
    /// of that for each class and customer.
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        account: AccountName,
        requests_per_minute: Live<u32>,
    ) -> Self {
        Self { store, clock, account, requests_per_minute }
    }

    fn budget(&self) -> Budget {
        let requests = *self.requests_per_minute.get();
        let part = (requests / CUSTOMER_PART).max(CUSTOMER_LEAST);
        Budget {
            window: WINDOW,
            account: Limit::of(requests),
            customer: Limit::of(part.min(requests)),
        }
    }
}

#[async_trait]
impl Ledger for StoreLedger {
    async fn reserve(&self, asks: &[Ask]) -> Result<Vec<Grant>, String> {
        self.store
            .reserve(&self.account, asks, &self.budget(), self.clock.now())
            .await
            .map_err(|error| error.to_string())
    }

    fn reads_per_minute(&self) -> u32 {
        self.budget().account.reads
    }

    async fn close(&self, until: Timestamp) -> Result<(), String> {
        self.store
            .throttle(&self.account, until, self.clock.now())
            .await
            .map_err(|error| error.to_string())
    }

    async fn no_entitlements_at(&self) -> Result<Option<Timestamp>, String> {
        self.store.no_entitlements_at(&self.account).await.map_err(|error| error.to_string())
    }

    async fn note_entitlements(&self, refused_at: Option<Timestamp>) -> Result<(), String> {
        let noted = self.store.note_entitlements(&self.account, refused_at).await;
        noted.map_err(|error| error.to_string())
    }

    async fn note_customers(&self, list: &Seen<CustomerList>) -> Result<(), String> {
        let customers = list.fact.customers.iter().filter_map(|customer| {
            let tenant_id = customer.id.as_deref()?.parse().ok()?;
            Some(ListedCustomer { tenant_id, domain: customer.domain.clone() })
        });
        let read =
            CustomersRead { at: list.at, count: list.fact.count, customers: customers.collect() };
        self.store.note_customers(&self.account, &read).await.map_err(|error| error.to_string())
    }
}
