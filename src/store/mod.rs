//! What is kept, behind one trait. Every method is one transaction: it happens whole or not at all.
//!
//! `now` is the caller's clock. Times are kept to the millisecond. A method that takes a [`Fence`]
//! refuses with [`StoreError::LeaseLost`] when the row has moved on to another claim.

mod admission;
mod audit;
mod consent;
mod customers;
pub mod lock;
pub mod measured;
pub mod memory;
mod operator;
mod protect;
mod reload;
mod requests;
mod rules;
mod shared;
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
pub use survey::{AccountSurvey, Move, Survey, SurveyRequest, Tally};
pub use types::{
    ClaimRequest, Claimed, Commit, Committed, DaemonInfo, EnqueueOutcome, FAULTS_KEPT, Filter,
    Next, PurchaseRecord, PurchasesRead, StoredFault, StoredPurchase, TransitionRecord,
};
pub use window::paced;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::core::account::{Account, TroubleKind};
use crate::core::budget::{Ask, Budget, Grant};
use crate::core::command::{Answer, Command};
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId, TenantId};
use crate::core::observation::Observation;
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::{NewTeardown, Teardown};

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
    /// Any other failure of the engine below (disk full, locked too long, I/O).
    #[error("database: {0}")]
    Engine(String),
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The store.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    // ---- queue -------------------------------------------------------------------------------

    /// Queues all of these or none. The answers stand in the order of the input; a tenant that
    /// occurs twice is `AlreadyActive` the second time. Protected tenants are refused with
    /// [`StoreError::Protected`], and tenants that are active with another domain than the one named,
    /// or with none, with [`StoreError::OtherDomain`].
    async fn enqueue(
        &self,
        rows: &[NewTeardown],
        now: Timestamp,
    ) -> Result<Vec<(TeardownId, EnqueueOutcome)>>;

    /// Rows that match, newest first.
    async fn list(&self, filter: &Filter) -> Result<Vec<Teardown>>;

    /// Stored purchases of a row, by key.
    async fn purchases(&self, teardown: TeardownId) -> Result<Vec<StoredPurchase>>;

    /// Every command ever committed for a tenant of an account, oldest first.
    async fn commands(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<Command>>;

    /// History of the rows of a tenant, oldest first.
    async fn history(
        &self,
        account: Option<&AccountName>,
        tenant: TenantId,
    ) -> Result<Vec<TransitionRecord>>;

    /// The failures kept of every teardown of a tenant, oldest first: the newest [`FAULTS_KEPT`] of each.
    async fn faults(&self, account: &AccountName, tenant: TenantId) -> Result<Vec<StoredFault>>;

    // ---- leases (invariant 10) ----------------------------------------------------------------

    /// Called once by the one process that may run on this database: gives back every lease, with a
    /// new fence, and makes those rows due at once. Returns how many.
    async fn take_over(&self, now: Timestamp) -> Result<u64>;

    /// Claims due rows, each with a new fence: by priority, then by what becomes impossible to cancel
    /// soonest, then by how long they have been due.
    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claimed>>;

    /// When the earliest row becomes due that [`claim`](Self::claim) would give to one of these
    /// accounts; `None` if no row waits for a time.
    async fn next_due(&self, accounts: &[AccountName], now: Timestamp)
    -> Result<Option<Timestamp>>;

    /// Renews these leases and returns the ids of those that are lost.
    async fn renew(
        &self,
        owner: &str,
        leases: &[(TeardownId, Fence)],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<TeardownId>>;

    /// Gives a lease back without a change; the row is due again at once.
    async fn release(&self, teardown: TeardownId, fence: Fence, now: Timestamp) -> Result<()>;

    // ---- reconcile -----------------------------------------------------------------------------

    /// Commits one step. See [`Commit`].
    async fn commit(&self, commit: Commit<'_>, now: Timestamp) -> Result<Committed>;

    /// Asks the gates once more for a committed command, and if they allow it counts the send. Must
    /// precede every send, also a repeated one.
    ///
    /// A command that was never sent and is refused by [`Verdict::Hold`] or [`Verdict::Halt`] is
    /// settled as withdrawn. The hold or the halt itself is stored as in [`commit`](Self::commit),
    /// but the lease stays with the caller.
    #[allow(clippy::too_many_arguments)]
    async fn begin_send(
        &self,
        command: CommandId,
        teardown: TeardownId,
        fence: Fence,
        correlation: Uuid,
        seen: &Observation,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<Verdict>;

    /// Stores what a send taught. Needs no fence: an answer is a fact, whoever holds the lease. An
    /// accepted command proves its class for the account and wakes the rows that waited for that.
    async fn record_answer(
        &self,
        command: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()>;

    // ---- accounts --------------------------------------------------------------------------------

    /// The row of an account, fresh if there is none. `*` is the row of everything.
    async fn account(&self, name: &AccountName) -> Result<Account>;

    /// Every stored account, `*` among them if it was ever paused.
    async fn accounts(&self) -> Result<Vec<Account>>;

    /// Halts an account (invariant 2). A second halt keeps the first one's reason.
    async fn halt(
        &self,
        account: &AccountName,
        guard: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<()>;

    /// Stores an outage of the account; `since` of a running one of the same kind is kept.
    async fn set_trouble(
        &self,
        account: &AccountName,
        kind: TroubleKind,
        text: &str,
        next_probe_at: Timestamp,
        now: Timestamp,
    ) -> Result<()>;

    /// Makes the next probe of an outage due at once, if there is one.
    async fn probe_now(&self, account: &AccountName, now: Timestamp) -> Result<()>;

    /// Ends an outage and makes the rows that waited for it due at once.
    async fn clear_trouble(&self, account: &AccountName, now: Timestamp) -> Result<()>;

    /// Closes an account after a 429. A later end that is already stored stays.
    async fn throttle(&self, account: &AccountName, until: Timestamp, now: Timestamp)
    -> Result<()>;

    /// Reserves sends in the budget, durably, before they go out (invariant 9).
    async fn reserve(
        &self,
        account: &AccountName,
        asks: &[Ask],
        budget: &Budget,
        now: Timestamp,
    ) -> Result<Vec<Grant>>;

    /// Notes a complete customer list: when each customer was first seen, how many there are. An
    /// older list than the latest one is passed over.
    async fn note_customers(&self, account: &AccountName, read: &CustomersRead) -> Result<()>;

    /// What the latest complete customer list of an account taught, if one was ever read.
    async fn customers(&self, account: &AccountName) -> Result<Option<KnownCustomers>>;

    // ---- operators -------------------------------------------------------------------------------

    /// Stores, applies and answers a request.
    async fn request(
        &self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>>;

    /// Applies the requests that were typed in by SQL and returns how many there were. One that
    /// cannot be understood is answered with the reason in its row.
    async fn apply_requests(&self, now: Timestamp) -> Result<u64>;

    /// Approves teardowns, each for the inventory that is stored of it or that a plan names, and lets
    /// go of those that were held for want of that. Stored with its effects like any request.
    async fn approve(&self, request: &ApproveRequest, now: Timestamp)
    -> Result<Vec<RequestEffect>>;

    /// Arms or disarms an account; arming lets go of its teardowns that were held for want of it.
    /// Stored with its effect like any request.
    async fn arm(&self, request: &ArmRequest, now: Timestamp) -> Result<RequestEffect>;

    /// Every deny entry, by account, kind and subject.
    async fn protections(&self) -> Result<Vec<Protection>>;

    /// The acknowledgements in force, by row. One ends when its row changes its state or its hold.
    async fn acks(&self) -> Result<Vec<Ack>>;

    /// Keeps that guards refused to queue these, for the audit and to be counted.
    async fn note_refused(&self, refused: &[RefusedEnqueue], now: Timestamp) -> Result<()>;

    /// The entries of a range in time order.
    async fn audit(&self, range: &AuditRange) -> Result<Vec<AuditEntry>>;

    /// When the oldest entry of the audit was made.
    async fn audit_begins(&self) -> Result<Option<Timestamp>>;

    // ---- upkeep ----------------------------------------------------------------------------------

    /// Holds rows (before their end) whose account the configuration does not know, and lets go of
    /// those whose account has become known. Returns how many rows changed.
    async fn check_accounts(&self, known: &[AccountName], now: Timestamp) -> Result<u64>;

    /// Asks the daemon to read its configuration anew. Returns the number of the request.
    async fn ask_reload(&self, actor: &str, now: Timestamp) -> Result<i64>;

    /// The numbers of the requests to reload that are not answered yet, oldest first.
    async fn open_reloads(&self) -> Result<Vec<i64>>;

    /// Answers these requests, and forgets all but the latest hundred.
    async fn answer_reloads(
        &self,
        ids: &[i64],
        answer: &ReloadAnswer,
        now: Timestamp,
    ) -> Result<()>;

    /// The answer to a request to reload, once there is one.
    async fn reload_answer(&self, id: i64) -> Result<Option<ReloadAnswer>>;

    /// Stores that the daemon lives.
    async fn tick(&self, info: &DaemonInfo) -> Result<()>;

    /// What the daemon last told of itself.
    async fn daemon(&self) -> Result<Option<DaemonInfo>>;

    /// How things stand, by sets: what the gauges are read from.
    async fn survey(&self, request: &SurveyRequest, now: Timestamp) -> Result<Survey>;

    /// Removes terminal rows that finished before `finished`, and history and settled commands
    /// older than `history` of rows that no longer exist, and answered requests of operators older
    /// than that. Returns how many teardowns went.
    /// A DELETE that is unsettled or accepted is never removed while its tenant has a row.
    async fn purge(&self, finished: Timestamp, history: Timestamp) -> Result<u64>;
}
