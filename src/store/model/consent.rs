//! The two things that people say yes to: arming an account, and approving teardowns. Neither can be typed in by SQL:
//! who arms has seen what the API says of the account, and who approves is the user of the command.

use std::collections::BTreeMap;

use super::Filter;
use crate::core::account::Identity;
use crate::core::approval::Inventory;
use crate::core::ids::{AccountName, TenantId};

/// A person's approval of teardowns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApproveRequest {
    /// Which.
    pub filter: Filter,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// The inventory of each tenant in a saved plan; `None` takes what is stored of each.
    pub plan: Option<BTreeMap<TenantId, Inventory>>,
}

/// A person's word on an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmRequest {
    /// The account.
    pub account: AccountName,
    /// The account as it was seen; `None` disarms.
    pub identity: Option<Identity>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

impl ArmRequest {
    /// The name under which it stands in `operator_requests`.
    pub(in crate::store) const fn verb(&self) -> &'static str {
        if self.identity.is_some() { "arm" } else { "disarm" }
    }
}
