//! What goes into the store and comes out of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::account::{Identity, TroubleKind};
use crate::core::command::{Command, NewCommand};
use crate::core::fault::FailedCall;
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{AccountName, Fence, TeardownId, TenantId};
use crate::core::key::ResourceKey;
use crate::core::machine::Transition;
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::core::routes::{Kind, Route, Standing};
use crate::core::teardown::{State, Teardown};

/// What is kept of one purchase, for operators: the machine itself decides from what it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PurchaseRecord {
    /// Stable within the tenant.
    pub key: ResourceKey,
    /// Its kind.
    pub kind: Kind,
    /// Product name, as read.
    pub name: String,
    /// How it is cancelled.
    pub route: Route,
    /// Status as read, in lower case.
    pub status: String,
    /// How it stands.
    pub standing: Standing,
    /// Id of the order it belongs to.
    pub order_id: Option<String>,
    /// Why it cannot be cancelled, where it cannot.
    pub blocked: Option<String>,
    /// Until when it can be cancelled, where that is bounded and still ahead.
    pub cancellable_until: Option<Timestamp>,
}

/// A stored purchase with its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredPurchase {
    /// What was read.
    #[serde(flatten)]
    pub record: PurchaseRecord,
    /// When it was first read.
    pub first_seen_at: Timestamp,
    /// When it was last read.
    pub last_seen_at: Timestamp,
    /// When it was last read as inactive; kept when it comes back.
    pub inactive_at: Option<Timestamp>,
}

/// The purchases of one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurchasesRead {
    /// A complete reading. Stored purchases that it lacks become inactive with status `gone`.
    All(Vec<PurchaseRecord>),
    /// Some known purchases, from a poll of single lists: only their status, standing and times are
    /// updated.
    Some(Vec<PurchaseRecord>),
}

/// One row of the append-only table `transitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransitionRecord {
    /// Row number, growing.
    pub id: i64,
    /// The teardown.
    pub teardown_id: TeardownId,
    /// Its account.
    pub account: AccountName,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// When.
    pub at: Timestamp,
    /// State before; `None` for the first row, and equal to `to` for a hold or a release.
    pub from: Option<State>,
    /// State after.
    pub to: State,
    /// Reason code.
    pub reason: Option<Reason>,
    /// In words.
    pub text: Option<String>,
    /// Who: an operator, or `teardownd`.
    pub actor: String,
}

/// So many failures of a teardown are kept, the newest ones: an outage of days must not fill the disk.
pub const FAULTS_KEPT: usize = 50;

/// A failed call of a teardown, as stored: append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredFault {
    /// Row number, growing.
    pub id: i64,
    /// The teardown whose pass made the call.
    pub teardown_id: TeardownId,
    /// The reason of the wait, the hold or the end it led to; `None` where the work went on.
    pub reason: Option<Reason>,
    /// The call and its answer.
    #[serde(flatten)]
    pub call: FailedCall,
}

/// One step of a reconcile pass, to be committed as a whole (invariant 11).
///
/// In this order, in one transaction: check the fence; settle; store the inventory; put each new
/// command through [`gates::admit`](crate::core::gates::admit) with rows read in this transaction;
/// insert those allowed; change the row. A [`Verdict::Hold`] sets the row's hold; a
/// [`Verdict::Halt`] halts the account; a [`Verdict::Wait`] becomes the row's reason, and its time
/// the next attempt, when no command was admitted.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The row.
    pub teardown: TeardownId,
    /// The fence under which the caller works.
    pub fence: Fence,
    /// The decision of the machine. A state that equals the present one writes no history row, and a row in a
    /// terminal state always gives its lease back.
    pub transition: Transition,
    /// The commands that the transition asks for, in order, each under its id.
    pub commands: Vec<NewCommand>,
    /// Purchases as read in this pass; `None` leaves the stored ones.
    pub purchases: Option<PurchasesRead>,
    /// Domain as read; `None` leaves the stored one.
    pub domain: Option<String>,
    /// Whether the inventory was checked against the entitlements; `None` leaves what is stored.
    pub cross_checked: Option<bool>,
    /// Calls that failed since the last commit, in order. They are stored with the reason of this step
    /// whatever the gates say to its commands.
    pub failures: Vec<FailedCall>,
    /// What was read: the gates ask it.
    pub seen: &'a Observation,
    /// Settings of the guards.
    pub policy: &'a SafetyPolicy,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The row as it is now. Its lease is `None` when it was given back.
    pub teardown: Teardown,
    /// The commands that were admitted and stored, in order.
    pub admitted: Vec<Command>,
    /// The first verdict other than `Allow`, if a command was not admitted.
    pub verdict: Option<Verdict>,
}

/// A row claimed for work.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The row, leased.
    pub teardown: Teardown,
    /// The fence of this claim.
    pub fence: Fence,
    /// The outage of the account that is stored.
    pub outage: Option<TroubleKind>,
}

/// How many rows of an account are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// The account.
    pub account: AccountName,
    /// How many this process can take on.
    pub free: usize,
    /// How many may be worked on at once, by all processes together.
    pub most: usize,
    /// The partner that the account stands for in the configuration of this process, if that matters.
    pub identity: Option<Identity>,
}

/// What the scheduler wants claimed.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The process.
    pub owner: String,
    /// How long the lease lasts unless it is renewed.
    pub ttl: Duration,
    /// How many rows of each account. Accounts that are not named get none; an account in trouble
    /// gets at most one, and none before its next probe; a paused, halted or throttled account gets
    /// none, and neither does one that stands for another partner by now.
    pub slots: Vec<Slots>,
    /// Rows that the process still works on. None of them is claimed, even where its lease has lapsed.
    pub working: Vec<TeardownId>,
}

/// What became of one row of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnqueueOutcome {
    /// Queued as a new row.
    Queued,
    /// An active row stands already; that row is named.
    AlreadyActive,
    /// Deleted before; that row is named. `again` queues it all the same.
    AlreadyDeleted,
}

/// Which teardowns a call is about. Conditions are joined by "and"; an empty list of states or
/// tenants sets no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These rows.
    pub ids: Vec<TeardownId>,
    /// This account.
    pub account: Option<AccountName>,
    /// These tenants.
    pub tenants: Vec<TenantId>,
    /// This batch.
    pub batch: Option<String>,
    /// These states.
    pub states: Vec<State>,
    /// Only the newest row of each (account, tenant).
    pub latest_only: bool,
}

impl Filter {
    /// The rows that have not ended.
    pub fn active() -> Self {
        let states = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
        Self { states, ..Self::default() }
    }
}

/// The rows that wait behind gates of their accounts, as a look found them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// There is none.
    Nobody,
    /// All go on waiting.
    Closed,
    /// At least one went on, or had the end of its wait put off.
    Changed,
}
