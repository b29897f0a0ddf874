//! The stored record of one teardown.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::approval::{self, Approval};
use super::hold::Holds;
use super::ids::{AccountName, Fence, TeardownId, TenantId};
use super::reason::Reason;

/// The states of a teardown. The edges between them stand in [`machine`](super::machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its first look.
    Queued,
    /// The inventory is stored; nothing was written yet.
    EntitlementsFetched,
    /// Cancellations are being committed and sent.
    OrdersCancelling,
    /// Every cancellation that can be asked for was accepted; their goals are awaited.
    Polling,
    /// Nothing active is left; DELETE and its proof.
    Deleting,
    /// Proven gone.
    Deleted,
    /// Stopped for good by an operator.
    Aborted,
    /// Stopped; an operator may `retry`.
    Failed,
}

impl State {
    /// Every state, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::EntitlementsFetched,
        Self::OrdersCancelling,
        Self::Polling,
        Self::Deleting,
        Self::Deleted,
        Self::Aborted,
        Self::Failed,
    ];

    /// The stable name used in the database, in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::EntitlementsFetched => "entitlements_fetched",
            Self::OrdersCancelling => "orders_cancelling",
            Self::Polling => "polling",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }

    /// The state of a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing moves any more unless an operator asks for a retry.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Deleted | Self::Aborted | Self::Failed)
    }
}

/// The lease under which a process works on a teardown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// The process that holds it.
    pub owner: String,
    /// When it lapses unless it is renewed.
    pub until: Timestamp,
}

/// One row of the table `teardowns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Teardown {
    /// Row number.
    pub id: TeardownId,
    /// The account the tenant is a customer of.
    pub account: AccountName,
    /// The customer's tenant.
    pub tenant_id: TenantId,
    /// The domain the operator says the tenant has (`--domain`); checked against what is read.
    pub expected_domain: Option<String>,
    /// The domain as last read from the API.
    pub domain: Option<String>,
    /// Batch name given at enqueue.
    pub batch: Option<String>,
    /// Higher goes first; 0 by default.
    pub priority: i64,
    /// Why it was queued, as the operator said.
    pub note: Option<String>,
    /// Who queued it.
    pub requested_by: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When its present run began: at the enqueue, or at the latest retry. Refusals before that are
    /// history and decide nothing any more.
    pub run_since: Timestamp,
    /// The operator's `retry --try-anyway`: send what is held to be impossible, to find out.
    pub try_anyway: bool,
    /// Not touched before then.
    pub not_before: Option<Timestamp>,
    /// Where it stands.
    pub state: State,
    /// Since when it stands there.
    pub state_since: Timestamp,
    /// The stored reason of the latest wait or of the failure.
    pub reason: Option<Reason>,
    /// The reason in words, with names and numbers.
    pub reason_text: Option<String>,
    /// Held by a person, by a guard, or by both.
    pub holds: Holds,
    /// Consecutive failures of the tenant's own step.
    pub attempts: u32,
    /// Consecutive polls that found the tenant still waiting; drives the polling backoff only.
    pub polls: u32,
    /// How often a DELETE was refused and cancelling began again.
    pub rounds: u32,
    /// When it is due. `None`: at once.
    pub next_attempt_at: Option<Timestamp>,
    /// Start of the running stretch of eligible time; `None` while held, paused or halted, and
    /// outside the windows.
    pub eligible_since: Option<Timestamp>,
    /// Eligible time spent before `eligible_since`.
    pub eligible_used: Duration,
    /// Orders that a refused DELETE named in its text: read by id until they are seen inactive.
    pub suspects: Vec<String>,
    /// Whether the latest inventory was checked against the entitlements; `Some(false)` where the API
    /// refuses them to this app. `None` before the first inventory.
    pub cross_checked: Option<bool>,
    /// When the first of its purchases becomes impossible to cancel, as far as is known: sooner goes
    /// first.
    pub uncancellable_at: Option<Timestamp>,
    /// A person's yes to what it had bought then. Which of them count is for
    /// [`counting_approval`](Self::counting_approval) to say.
    pub approval: Option<Approval>,
    /// Who works on it now.
    pub lease: Option<Lease>,
    /// The fence of the latest claim.
    pub fence: Fence,
    /// Latest change of the row.
    pub updated_at: Timestamp,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
}

impl Teardown {
    /// The approval of a teardown that counts.
    ///
    /// # Errors
    /// Why none does. `by_other` is `safety.approve_by_other`.
    pub fn counting_approval(&self, by_other: bool) -> Result<&Approval, String> {
        let Some(approval) = &self.approval else {
            return Err("nobody has approved it".to_owned());
        };
        if approval.run != self.run_since {
            return Err(format!(
                "the approval by {} is from before the retry and does not count",
                approval.actor
            ));
        }
        if by_other {
            approval::check_other(self.requested_by.as_deref(), &approval.actor)?;
        }
        Ok(approval)
    }

    /// A row as it is when nothing is known of it but whom it is about. Its deadline's clock stands.
    pub fn fresh(id: TeardownId, account: AccountName, tenant: TenantId, now: Timestamp) -> Self {
        Self {
            id,
            account,
            tenant_id: tenant,
            expected_domain: None,
            domain: None,
            batch: None,
            priority: 0,
            note: None,
            requested_by: None,
            created_at: now,
            run_since: now,
            try_anyway: false,
            not_before: None,
            state: State::Queued,
            state_since: now,
            reason: None,
            reason_text: None,
            holds: Holds::default(),
            attempts: 0,
            polls: 0,
            rounds: 0,
            next_attempt_at: None,
            eligible_since: None,
            eligible_used: Duration::ZERO,
            suspects: Vec::new(),
            cross_checked: None,
            uncancellable_at: None,
            approval: None,
            lease: None,
            fence: Fence(0),
            updated_at: now,
            finished_at: None,
        }
    }

    /// When the deadline falls, if the row stays eligible. `None` while its clock stands.
    pub fn deadline_at(&self, deadline: Duration) -> Option<Timestamp> {
        if self.state.is_terminal() {
            return None;
        }
        let left = deadline.saturating_sub(self.eligible_used);
        self.eligible_since.and_then(|since| since.checked_add(left).ok())
    }
}

impl Teardown {
    /// Whether it waits for a window of `safety.windows`: its deadline's clock stands until then.
    pub fn waits_for_a_window(&self, now: Timestamp) -> bool {
        self.reason == Some(Reason::Window) && self.next_attempt_at.is_some_and(|at| now < at)
    }

    /// Whether it has stood in one non-terminal state for longer than `limit`
    /// (`engine.stuck_after`). It still goes on; somebody should look.
    pub fn is_stuck(&self, limit: Duration, now: Timestamp) -> bool {
        let stood = Duration::try_from(now.duration_since(self.state_since)).unwrap_or_default();
        !self.state.is_terminal() && stood > limit
    }
}

impl Teardown {
    /// Whether somebody should look: it failed, is held, or is stuck as in
    /// [`is_stuck`](Self::is_stuck). What is acknowledged rings no more.
    pub fn rings(&self, stuck_after: Duration, now: Timestamp) -> bool {
        match self.state {
            State::Deleted | State::Aborted => false,
            State::Failed => true,
            State::Queued
            | State::EntitlementsFetched
            | State::OrdersCancelling
            | State::Polling
            | State::Deleting => self.holds.stand() || self.is_stuck(stuck_after, now),
        }
    }
}

/// How an operator tells teardowns apart at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being worked on, or due.
    Moving,
    /// Waiting for the API, for a time or for an account; needs nobody.
    Waiting,
    /// Stopped by a person or a guard; needs a person.
    Held,
    /// Stopped for good unless retried.
    Failed,
    /// Deleted or aborted.
    Done,
}

impl Status {
    /// Every status, for tables and tests.
    pub const ALL: [Self; 5] = [Self::Moving, Self::Waiting, Self::Held, Self::Failed, Self::Done];

    /// The stable name used in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    /// The status of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl Teardown {
    /// The status at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.state {
            State::Deleted | State::Aborted => Status::Done,
            State::Failed => Status::Failed,
            State::Queued
            | State::EntitlementsFetched
            | State::OrdersCancelling
            | State::Polling
            | State::Deleting => {
                if self.holds.stand() {
                    Status::Held
                } else if self.lease.is_none()
                    && (self.next_attempt_at.is_some_and(|at| now < at)
                        || self.not_before.is_some_and(|at| now < at))
                {
                    Status::Waiting
                } else {
                    Status::Moving
                }
            }
        }
    }
}

/// A teardown to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTeardown {
    /// The account.
    pub account: AccountName,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The domain the operator expects.
    pub expected_domain: Option<String>,
    /// Batch name.
    pub batch: Option<String>,
    /// Priority.
    pub priority: i64,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub requested_by: Option<String>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Queue it although it was deleted before.
    pub again: bool,
}
