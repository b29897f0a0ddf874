//! The state machine of a teardown.
//!
//! ```text
//!            ┌──────────────────────── operator's retry ─────────────────────────┐
//!            v                                                                   │
//!   queued ──> entitlements_fetched ──> orders_cancelling <──> polling           │
//!                      │                     ^    (a purchase      │             │
//!        nothing active│                     │     is left)        │nothing      │
//!                      │    something active │                     │active       │
//!                      └──────────────> deleting <─────────────────┘             │
//!                                          │                                     │
//!                                  proof   v                                     │
//!                                       deleted                                  │
//!
//!   any non-terminal state ──> failed ───────────────────────────────────────────┘
//!   any non-terminal state without a DELETE unsettled or accepted ──> aborted (operator)
//! ```
//!
//! [`decide`] is pure. It either asks for reads it cannot do without, or gives one [`Transition`]. It
//! is called again after each, with what was read or committed since, until the transition parks the
//! row. It trusts nothing but what was read in this pass and what is stored, so going on after a
//! crash is the same code as going on (the design calls this level-triggered).

use std::time::Duration;

use jiff::Timestamp;

use super::command::{Intent, Outcome};
use super::deleting;
use super::gates::{FACTS_BEFORE_DELETE, FACTS_BEFORE_WRITE};
use super::ids::CommandId;
use super::observation::{Observation, Read};
use super::plan::Memory;
use super::reason::Reason;
use super::teardown::{State, Teardown};

/// The timing rules, from `[engine]`, `[polling]` and `[retry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `engine.deadline`: bound on eligible time.
    pub deadline: Duration,
    /// `polling.initial`.
    pub polling_initial: Duration,
    /// `polling.max`.
    pub polling_max: Duration,
    /// `polling.reissue_after`.
    pub reissue_after: Duration,
    /// `retry.initial`.
    pub retry_initial: Duration,
    /// `retry.max`.
    pub retry_max: Duration,
    /// `retry.max_attempts`.
    pub max_attempts: u32,
}

/// After so many refused DELETEs with something active behind them, a person must look.
pub const MAX_ROUNDS: u32 = 5;

/// Everything a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The stored row.
    pub teardown: &'a Teardown,
    /// What else is stored of the tenant.
    pub memory: &'a Memory,
    /// What was read in this pass.
    pub seen: &'a Observation,
    /// Timing rules.
    pub policy: &'a Policy,
    /// The time.
    pub now: Timestamp,
    /// A number from 0.0 to 1.0, for jitter.
    pub dice: f64,
}

/// What a pass does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Read these first, then decide again.
    Read(Vec<Read>),
    /// Commit this, perform its commands, then decide again unless it parks.
    Transition(Box<Transition>),
}

/// When the row is worked on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// In this pass, at once.
    Now,
    /// Parked until then.
    At(Timestamp),
    /// Never: the state is terminal.
    Never,
}

/// One step: what to commit in one transaction and what to send afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The state to go to, or to stay in.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// In words, with names and numbers.
    pub text: Option<String>,
    /// Unsettled commands whose goal was read as reached.
    pub settled: Vec<(CommandId, Outcome, String)>,
    /// New commands to commit and send.
    pub intents: Vec<Intent>,
    /// Unsettled commands to send again.
    pub resends: Vec<CommandId>,
    /// Consecutive failures from now on.
    pub attempts: u32,
    /// Consecutive polls from now on.
    pub polls: u32,
    /// Rounds of refused DELETEs from now on.
    pub rounds: u32,
    /// Orders to read by id from now on.
    pub suspects: Vec<String>,
    /// When to go on.
    pub wake: Wake,
}

/// Whether the machine, or an operator, may take a row from one state to the other. Staying is not
/// an edge. The database's triggers hold the same table.
pub const fn is_edge(from: State, to: State) -> bool {
    use State::{
        Aborted, Deleted, Deleting, EntitlementsFetched, Failed, OrdersCancelling, Polling, Queued,
    };
    match from {
        Queued => matches!(to, EntitlementsFetched | Aborted | Failed),
        EntitlementsFetched => matches!(to, OrdersCancelling | Deleting | Aborted | Failed),
        OrdersCancelling => matches!(to, Polling | Aborted | Failed),
        Polling => matches!(to, OrdersCancelling | Deleting | Aborted | Failed),
        Deleting => matches!(to, OrdersCancelling | Deleted | Aborted | Failed),
        Failed => matches!(to, Queued),
        Deleted | Aborted => false,
    }
}

/// Decides the next step. Never panics, and reads neither clock nor dice of its own.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let s = situation;
    if s.teardown.state.is_terminal() {
        return s.park(Wake::Never);
    }
    if let Some(early) = s.deadline().or_else(|| s.trouble()) {
        return early;
    }
    match s.teardown.state {
        State::Queued => queued(s),
        State::EntitlementsFetched => entitlements_fetched(s),
        State::OrdersCancelling => orders_cancelling(s),
        State::Polling => polling(s),
        State::Deleting => deleting::decide(s),
        State::Deleted | State::Aborted | State::Failed => s.park(Wake::Never),
    }
}

fn queued(s: &Situation<'_>) -> Decision {
    let there = match s.customer(FACTS_BEFORE_WRITE) {
        Ok(there) => there,
        Err(first) => return first,
    };
    if there && let Err(first) = s.inventory(FACTS_BEFORE_WRITE) {
        return first;
    }
    s.go(State::EntitlementsFetched, None, "the inventory is stored")
}

fn entitlements_fetched(s: &Situation<'_>) -> Decision {
    match s.customer(FACTS_BEFORE_WRITE) {
        Ok(true) => {}
        Ok(false) => return s.go(State::Deleting, None, "a DELETE of this customer is on record"),
        Err(first) => return first,
    }
    let inventory = match s.inventory(FACTS_BEFORE_WRITE) {
        Ok(inventory) => inventory,
        Err(first) => return first,
    };
    if inventory.proves_nothing_active() {
        return s.go(State::Deleting, Some(Reason::NothingActive), "nothing is active");
    }
    // What only a person can cancel is found before anything of the tenant is touched.
    if let Some(failure) = s.blocked(&s.plan(&inventory), &inventory) {
        return failure;
    }
    let text = format!("{} purchases are not inactive", inventory.unfinished().count());
    s.go(State::OrdersCancelling, None, &text)
}

fn orders_cancelling(s: &Situation<'_>) -> Decision {
    match s.customer(FACTS_BEFORE_WRITE) {
        Ok(true) => {}
        Ok(false) => return s.go(State::Polling, None, "a DELETE of this customer is on record"),
        Err(first) => return first,
    }
    let inventory = match s.inventory(FACTS_BEFORE_WRITE) {
        Ok(inventory) => inventory,
        Err(first) => return first,
    };
    let plan = match s.workable_plan(&inventory) {
        Ok(plan) => plan,
        Err(first) => return first,
    };
    if plan.has_work() {
        // The guards of the commit ask the account's own customer list.
        if let Some(first) = s.census(FACTS_BEFORE_WRITE) {
            return first;
        }
        let mut step = s.step(State::OrdersCancelling);
        step.settled = s.reached(&inventory);
        step.intents = plan.intents();
        step.resends = plan.resends();
        step.polls = 0;
        return Decision::Transition(Box::new(step));
    }
    s.wait_or_finish(&inventory, &plan)
}

fn polling(s: &Situation<'_>) -> Decision {
    // A poll does not ask for the customer; but if it was read, because a list said it is gone or
    // because another state did, that comes first.
    if s.seen.customer.is_some() {
        match s.customer(FACTS_BEFORE_WRITE) {
            Ok(true) => {}
            Ok(false) => {
                return s.go(State::Deleting, None, "a DELETE of this customer is on record");
            }
            Err(first) => return first,
        }
    }
    if let Some(waiting) = s.poll() {
        return waiting;
    }
    let inventory = match s.inventory(FACTS_BEFORE_DELETE) {
        Ok(inventory) => inventory,
        Err(first) => return first,
    };
    if inventory.proves_nothing_active() {
        let mut step = s.step(State::Deleting);
        step.reason = Some(Reason::NothingActive);
        step.text = Some("nothing is active".to_owned());
        step.settled = s.reached(&inventory);
        return Decision::Transition(Box::new(step));
    }
    let plan = match s.workable_plan(&inventory) {
        Ok(plan) => plan,
        Err(first) => return first,
    };
    if plan.has_work() {
        let mut step = s.step(State::OrdersCancelling);
        step.reason = Some(Reason::PurchaseActive);
        step.text = Some(plan.summary());
        step.settled = s.reached(&inventory);
        return Decision::Transition(Box::new(step));
    }
    s.wait_or_finish(&inventory, &plan)
}
