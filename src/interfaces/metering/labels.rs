//! The labels of the catalogue and the closed sets of their values.

use super::metric::Dimension;
use crate::core::account::AccountState;
use crate::core::budget::Resource;
use crate::core::machine;
use crate::core::reason::{Reason, ReasonKind};
use crate::core::teardown::{State, Status};
use crate::partner_center::{ANSWERS, CALLS};
use crate::store::{OPERATIONS, Presence};

/// Stands for the accounts of rows that the configuration does not know. No account can have this
/// name.
pub const UNCONFIGURED: &str = "(unconfigured)";
/// Stands for a reason where none is stored.
pub const NO_REASON: &str = "none";
/// Stands for the state before a teardown was queued.
pub const NEW: &str = "new";

macro_rules! dimensions {
    ($($name:ident = [$($label:literal),+], $about:literal, $values:expr;)*) => {
        $(
            #[doc = $about]
            pub const $name: Dimension =
                Dimension { names: &[$($label),+], about: $about, values: $values };
        )*
    };
}

dimensions! {
    ACCOUNT = ["account"], "a configured account",
        |scope| single(scope.accounts.clone());
    ROW_ACCOUNT = ["account"], "a configured account, or `(unconfigured)` for rows of any other",
        |scope| single([scope.accounts.clone(), vec![UNCONFIGURED.to_owned()]].concat());
    STANDING = ["state", "status"], "state of a teardown and its status, as `teardownd list` shows them",
        |_| standings();
    STATE = ["state"], "state of a teardown",
        |_| single(State::ALL.into_iter().filter(|state| !state.is_terminal()).map(State::as_str));
    MOVE = ["from", "to"], "states before and after; `new` before the first",
        |_| moves();
    END = ["outcome"], "how a teardown ended",
        |_| single(State::ALL.into_iter().filter(|state| state.is_terminal()).map(State::as_str));
    WAITING = ["reason"], "what it waits for; `none` where that is not stored",
        |_| single(reasons_or_none(&[ReasonKind::Waiting]));
    HELD = ["reason"], "the guard that holds it, or `operator`",
        |_| single(reasons(&[ReasonKind::Held]));
    BLOCKED = ["reason"], "what it waits for or is held by; `none` while it moves",
        |_| single(reasons_or_none(&[ReasonKind::Waiting, ReasonKind::Held]));
    FAILED = ["reason"], "why it failed; `none` where that is not stored",
        |_| single(reasons_or_none(&[ReasonKind::Failed]));
    ACKNOWLEDGED = ["acknowledged"], "whether a person has taken note of it",
        |_| single(["true", "false"]);
    ACCOUNT_STATE = ["state"], "state of an account",
        |_| single(AccountState::ALL.map(AccountState::as_str));
    GUARD = ["guard"], "the guard that refused",
        |_| single(reasons(&[ReasonKind::Held]));
    CALL = ["route", "method"], "call, with names in place of ids",
        |_| CALLS.iter().map(|call| pair(call.route, call.method)).collect();
    ANSWER = ["status_class", "outcome"], "class of the HTTP status, and what came of the request",
        |_| ANSWERS.iter().map(|(class, outcome)| pair(class, outcome)).collect();
    RESOURCE = ["resource"], "class of requests that is counted apart",
        |_| single(Resource::ALL.map(Resource::as_str));
    WINDOW = ["window"], "the cap: `safety.max_deletions_per_hour` or `_per_day`",
        |_| single(["hour", "day"]);
    OPERATION = ["operation"], "operation of the store",
        |_| single(OPERATIONS.iter().copied());
    TICK = ["outcome"], "whether the store answered",
        |_| single(["ok", "failed"]);
    PRESENCE = ["state"], "whether it works, was stopped in good order, or is silent",
        |_| single(Presence::ALL.map(Presence::as_str));
    DIRECTION = ["direction"], "whether the clock was set forward or back",
        |_| single(["forward", "back"]);
    VERSION = ["version"], "version of the program",
        |_| single([env!("CARGO_PKG_VERSION")]);
}

/// The value of a label for a reason: of another kind than these it is not told.
pub fn reason_label(reason: Option<Reason>, kinds: &[ReasonKind]) -> &'static str {
    reason.filter(|reason| kinds.contains(&reason.kind())).map_or(NO_REASON, Reason::as_str)
}

fn reasons(kinds: &[ReasonKind]) -> Vec<&'static str> {
    let of_kind = Reason::ALL.iter().filter(|reason| kinds.contains(&reason.kind()));
    of_kind.map(|reason| reason.as_str()).collect()
}

fn reasons_or_none(kinds: &[ReasonKind]) -> Vec<&'static str> {
    reasons(kinds).into_iter().chain([NO_REASON]).collect()
}

fn standings() -> Vec<Vec<String>> {
    let active = [Status::Moving, Status::Waiting, Status::Held];
    let statuses = |state: State| match state {
        State::Failed => vec![Status::Failed],
        state if state.is_terminal() => vec![Status::Done],
        _ => active.to_vec(),
    };
    let of = |state: State| statuses(state).into_iter().map(move |s| (state.as_str(), s.as_str()));
    State::ALL.into_iter().flat_map(of).map(|(state, status)| pair(state, status)).collect()
}

fn moves() -> Vec<Vec<String>> {
    let lawful = |from: State| {
        State::ALL
            .into_iter()
            .filter(move |to| machine::is_edge(from, *to))
            .map(move |to| (from, to))
    };
    let edges = State::ALL.into_iter().flat_map(lawful);
    let edges = edges.map(|(from, to)| pair(from.as_str(), to.as_str()));
    std::iter::once(pair(NEW, State::Queued.as_str())).chain(edges).collect()
}

fn single(values: impl IntoIterator<Item = impl Into<String>>) -> Vec<Vec<String>> {
    values.into_iter().map(|value| vec![value.into()]).collect()
}

fn pair(one: &str, other: &str) -> Vec<String> {
    vec![one.to_owned(), other.to_owned()]
}
