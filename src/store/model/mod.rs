//! Plain data: what goes into the store and comes out of it.

mod audit;
mod consent;
mod customers;
mod job;
mod operator;
mod reload;
mod replica;
mod survey;
mod teardown;
pub(super) mod time;

pub use audit::{AuditEntry, AuditRange, RefusedEnqueue, RequestRecord};
pub(super) use audit::{ENQUEUE, merged};
pub use consent::{ApproveRequest, ArmRequest};
pub use customers::{CustomersRead, KnownCustomer, KnownCustomers, ListedCustomer};
pub use job::Begun;
pub(super) use operator::joined;
pub use operator::{
    About, AccountVerb, Ack, OperatorRequest, ProtectionVerb, RequestEffect, TeardownVerb, Verb,
    Writes,
};
pub(super) use reload::KEPT;
pub use reload::ReloadAnswer;
pub(super) use replica::FORGOTTEN;
pub use replica::{Presence, Replica};
pub(super) use survey::MOVES_AT_ONCE;
pub use survey::{AccountSurvey, Move, Survey, SurveyRequest, Tally};
pub use teardown::{
    ClaimRequest, Claimed, Commit, Committed, EnqueueOutcome, FAULTS_KEPT, Filter, PurchaseRecord,
    PurchasesRead, Slots, StoredFault, StoredPurchase, TransitionRecord, Waiting,
};
