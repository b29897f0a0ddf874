//! The customers of an account as they were last read, and since when each is known.

use jiff::Timestamp;
use serde::Serialize;

use crate::core::ids::TenantId;

/// A customer of a list that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCustomer {
    /// The customer's tenant.
    pub tenant_id: TenantId,
    /// Its domain, as far as the list has it.
    pub domain: Option<String>,
}

/// A complete customer list: what it lacks is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomersRead {
    /// When its reading began.
    pub at: Timestamp,
    /// How many entries it has, those without a usable id among them.
    pub count: usize,
    /// Its entries.
    pub customers: Vec<ListedCustomer>,
}

/// A customer that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownCustomer {
    /// The customer's tenant.
    pub tenant_id: TenantId,
    /// Its domain as last read.
    pub domain: Option<String>,
    /// When a complete list first held it.
    pub first_seen_at: Timestamp,
}

/// What the latest complete customer list of an account taught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCustomers {
    /// When it was read.
    pub read_at: Timestamp,
    /// How many entries it had.
    pub count: usize,
    /// The customers, by tenant.
    pub customers: Vec<KnownCustomer>,
}
