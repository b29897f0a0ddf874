//! Where the client asks before it sends. The runtime implements this over the store; the client
//! itself knows no store.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::core::budget::{Ask, Grant};
use crate::core::observation::{CustomerList, Seen};

/// The durable books of one account: its request budget and closures (invariant 9), and which
/// customers it was seen to have since when, and whether its app may ask for entitlements.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Reserves sends. An error text means the books cannot be written: nothing may be sent.
    async fn reserve(&self, asks: &[Ask]) -> Result<Vec<Grant>, String>;

    /// How many reads of one class the budget has in a minute.
    fn reads_per_minute(&self) -> u32;

    /// Closes the account until then, after a 429.
    async fn close(&self, until: Timestamp) -> Result<(), String>;

    /// When entitlements were last refused to this app, unless they were given since.
    async fn no_entitlements_at(&self) -> Result<Option<Timestamp>, String>;

    /// Notes that they are refused, or given again. What cannot be noted is asked for again.
    async fn note_entitlements(&self, refused_at: Option<Timestamp>) -> Result<(), String>;

    /// Notes each complete customer list that was read. What cannot be noted is only unknown later.
    async fn note_customers(&self, list: &Seen<CustomerList>) -> Result<(), String>;
}
