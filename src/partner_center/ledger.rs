//! Where the client asks before it sends. The runtime implements this over the store; the client
//! itself knows no store.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::core::budget::{Ask, Grant};

/// The durable books of one account's request budget and closures (invariant 9).
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Reserves sends. An error text means the books cannot be written: nothing may be sent.
    async fn reserve(&self, asks: &[Ask]) -> Result<Vec<Grant>, String>;

    /// How many reads of one class the budget has in a minute.
    fn reads_per_minute(&self) -> u32;

    /// Closes the account until then, after a 429.
    async fn close(&self, until: Timestamp) -> Result<(), String>;
}
