//! The client's request budget, kept in the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::core::budget::{Ask, Budget, Grant};
use crate::core::clock::Clock;
use crate::core::ids::AccountName;
use crate::partner_center::ledger::Ledger;
use crate::store::Store;

/// A grant may be used up to a second after it was given, so no 61 seconds of sends span more than
/// 62 seconds of grants.
pub const WINDOW: Duration = Duration::from_secs(62);

/// The books of one account.
#[derive(Debug)]
pub struct StoreLedger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    account: AccountName,
    budget: Budget,
}

impl StoreLedger {
    /// Opens the books of an account with a budget of `requests_per_minute` for each class.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        account: AccountName,
        requests_per_minute: u32,
    ) -> Self {
        let requests = requests_per_minute.max(1);
        // A fifth is kept for writes: a DELETE must not wait until what it rests on is stale.
        let reads = (requests - requests / 5).max(1);
        Self { store, clock, account, budget: Budget { window: WINDOW, requests, reads } }
    }
}

#[async_trait]
impl Ledger for StoreLedger {
    async fn reserve(&self, asks: &[Ask]) -> Result<Vec<Grant>, String> {
        self.store
            .reserve(&self.account, asks, &self.budget, self.clock.now())
            .await
            .map_err(|error| error.to_string())
    }

    fn reads_per_minute(&self) -> u32 {
        self.budget.reads
    }

    async fn close(&self, until: Timestamp) -> Result<(), String> {
        self.store
            .throttle(&self.account, until, self.clock.now())
            .await
            .map_err(|error| error.to_string())
    }
}
