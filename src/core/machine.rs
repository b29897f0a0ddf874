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

use jiff::Timestamp;

use super::command::Intent;
use super::freshness::Before;
use super::ids::CommandId;
use super::memory::{Memory, Settled};
use super::observation::{Observation, Read};
pub use super::policy::Policy;
use super::reason::Reason;
use super::teardown::{State, Teardown};

/// After so many refused DELETEs with something active behind them, a person must look.
pub const MAX_ROUNDS: u32 = 5;

/// Why a state is left at once when the customer reads as gone after a DELETE of ours.
const DELETE_IS_OUT: &str = "the customer reads as gone, and a DELETE of it is on record";

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
    pub settled: Vec<Settled>,
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

impl Transition {
    /// A step to a state that changes nothing else and goes on at once.
    pub const fn to(state: State) -> Self {
        Self {
            state,
            reason: None,
            text: None,
            settled: Vec::new(),
            intents: Vec::new(),
            resends: Vec::new(),
            attempts: 0,
            polls: 0,
            rounds: 0,
            suspects: Vec::new(),
            wake: Wake::Now,
        }
    }
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
    let decided = match s.teardown.state {
        State::Queued => queued(s),
        State::EntitlementsFetched => entitlements_fetched(s),
        State::OrdersCancelling => orders_cancelling(s),
        State::Polling => polling(s),
        State::Deleting => s.deleting(),
        State::Deleted | State::Aborted | State::Failed => Ok(s.park(Wake::Never)),
    };
    decided.unwrap_or_else(|first| first)
}

/// What an arm decides. The error is what must be done first: a read that is missing, or an end that
/// makes the rest pointless.
pub(super) type Arm = Result<Decision, Decision>;

fn queued(s: &Situation<'_>) -> Arm {
    s.footing()?;
    let text = format!("the inventory is stored{}", s.basis());
    Ok(s.go(State::EntitlementsFetched, None, &text))
}

fn entitlements_fetched(s: &Situation<'_>) -> Arm {
    let Some(inventory) = s.footing()? else {
        return Ok(s.go(State::Deleting, None, DELETE_IS_OUT));
    };
    if inventory.proves_nothing_active() {
        let text = format!("nothing is active{}", s.basis());
        return Ok(s.go(State::Deleting, Some(Reason::NothingActive), &text));
    }
    // What only a person can cancel is found before anything of the tenant is touched.
    if let Some(failure) = s.blocked(&s.plan(&inventory), &inventory) {
        return Ok(failure);
    }
    let text = format!("{} purchases are not inactive", inventory.unfinished().count());
    Ok(s.go(State::OrdersCancelling, None, &text))
}

fn orders_cancelling(s: &Situation<'_>) -> Arm {
    let Some(inventory) = s.footing()? else {
        return Ok(s.go(State::Polling, None, DELETE_IS_OUT));
    };
    let plan = s.workable_plan(&inventory)?;
    if !plan.has_work() {
        return Ok(s.wait_or_finish(&inventory, &plan));
    }
    s.listed(State::Polling)?;
    let mut step = s.step(State::OrdersCancelling);
    step.intents = plan.intents();
    step.resends = plan.resends();
    step.polls = 0;
    Ok(Decision::Transition(Box::new(step)))
}

fn polling(s: &Situation<'_>) -> Arm {
    // A poll does not ask for the customer; but if it was read, because a list said it is gone or
    // because another state did, that comes first.
    if s.seen.customer.is_some() && !s.customer(Before::Change)? {
        return Ok(s.go(State::Deleting, None, DELETE_IS_OUT));
    }
    if let Some(waiting) = s.poll() {
        return Ok(waiting);
    }
    let inventory = s.round(Before::Delete, &[s.census()])?;
    let (state, reason, text) = if inventory.proves_nothing_active() {
        (State::Deleting, Reason::NothingActive, format!("nothing is active{}", s.basis()))
    } else {
        let plan = s.workable_plan(&inventory)?;
        if !plan.has_work() {
            return Ok(s.wait_or_finish(&inventory, &plan));
        }
        (State::OrdersCancelling, Reason::PurchaseActive, plan.summary())
    };
    let mut step = s.step(state);
    step.reason = Some(reason);
    step.text = Some(text);
    Ok(Decision::Transition(Box::new(step)))
}
