//! The store: one [`Store`], whose methods are one transaction each.
//!
//! `now` is the caller's clock. Times are kept to the millisecond. A method that takes a [`Fence`](crate::core::ids::Fence)
//! refuses with [`StoreError::LeaseLost`] when the row has moved on to another claim.

mod admission;
mod audit;
mod consent;
mod customers;
mod files;
pub mod lock;
mod operator;
mod protect;
mod reload;
mod requests;
mod rules;
pub(crate) mod shared;
pub mod sqlite;
mod stops;
mod survey;
mod typed;
mod types;
mod window;

pub use audit::{AuditEntry, AuditRange, RefusedEnqueue, RequestRecord};
pub use consent::{ApproveRequest, ArmRequest};
pub use customers::{CustomersRead, KnownCustomer, KnownCustomers, ListedCustomer};
pub use operator::{Ack, OperatorRequest, RequestEffect, Verb, Writes};
pub use reload::ReloadAnswer;
pub use rules::{DAEMON, due_at};
pub use sqlite::{Door, OPERATIONS, Passage, Step, Store};
pub use survey::{AccountSurvey, Move, Survey, SurveyRequest, Tally};
pub use types::{
    ClaimRequest, Claimed, Commit, Committed, DaemonInfo, EnqueueOutcome, FAULTS_KEPT, Filter,
    Next, PurchaseRecord, PurchasesRead, StoredFault, StoredPurchase, TransitionRecord, Waiting,
};
pub use window::paced;

use crate::core::ids::{TeardownId, TenantId};
use crate::core::reason::Reason;

/// Why a store call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row was claimed anew since: whoever holds this fence must stop.
    #[error("the lease on teardown {0} was lost")]
    LeaseLost(TeardownId),
    /// There is no such row.
    #[error("no {0}")]
    NotFound(String),
    /// Deny entries of operators refuse these tenants; nothing was queued.
    #[error("{} of the tenants are protected: see `teardownd protect --list`", .0.len())]
    Protected(Vec<(TenantId, Reason, String)>),
    /// These tenants are active already, and not with the domain that the call names; nothing was
    /// queued.
    #[error("{} of the tenants are active already with another domain, or with none", .0.len())]
    OtherDomain(Vec<(TenantId, Reason, String)>),
    /// The database refused the change (a trigger, a constraint, an illegal transition).
    #[error("the database refused: {0}")]
    Refused(String),
    /// A stored row cannot be understood: it was changed by hand or by another version.
    #[error("row {row} of table {table} is damaged: {text}")]
    Damaged {
        /// Table.
        table: &'static str,
        /// Row id, as text.
        row: String,
        /// What is wrong.
        text: String,
    },
    /// The database cannot be used as it is; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// Another process holds the database, for a while; the text names it where that is known.
    #[error("{0}")]
    Busy(String),
    /// The files of the database are not those any more that were opened.
    #[error("{0}")]
    Gone(String),
    /// Any other failure of the engine below (disk full, I/O).
    #[error("database: {0}")]
    Engine(String),
}

impl StoreError {
    /// Whether the database could not be asked at all, so that nothing is known of the change: the same
    /// call may succeed later. Every other error is the database's answer.
    pub const fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Gone(_) | Self::Engine(_) => true,
            Self::LeaseLost(_)
            | Self::NotFound(_)
            | Self::Protected(_)
            | Self::OtherDomain(_)
            | Self::Refused(_)
            | Self::Damaged { .. }
            | Self::Unfit(_) => false,
        }
    }
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
