//! A halt in force in memory, before the store is touched (invariant 2).

use std::sync::{Mutex, PoisonError};

use crate::core::command::Answer;
use crate::core::ids::CommandId;

/// A halt, with the answer that caused it where that was the answer to a command.
#[derive(Debug, Clone)]
pub(super) struct Halt {
    serial: u64,
    pub(super) text: String,
    pub(super) answer: Option<(CommandId, Answer)>,
}

/// How many halts there were at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// The halts of this process. One stands here until the store has it; from then on the gates there see
/// it. What was about to be sent in between notices that there was one by its [`Mark`].
#[derive(Debug, Default)]
pub(super) struct Halting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    raised: u64,
    text: String,
    unstored: Vec<Halt>,
}

impl Halting {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn raise(&self, text: String, answer: Option<(CommandId, Answer)>) {
        self.with(|state| {
            state.raised += 1;
            state.text.clone_from(&text);
            let serial = state.raised;
            state.unstored.push(Halt { serial, text, answer });
        });
    }

    /// Another one stored a halt just now: what is about to be sent must not leave any more.
    pub(super) fn heard(&self, text: &str) {
        self.with(|state| {
            state.raised += 1;
            text.clone_into(&mut state.text);
        });
    }

    /// The oldest halt that is not stored yet.
    pub(super) fn unstored(&self) -> Option<Halt> {
        self.with(|state| state.unstored.first().cloned())
    }

    /// This one is stored.
    pub(super) fn stored(&self, halt: &Halt) {
        self.with(|state| state.unstored.retain(|other| other.serial != halt.serial));
    }

    pub(super) fn mark(&self) -> Mark {
        self.with(|state| Mark(state.raised))
    }

    pub(super) fn may_send(&self, since: Mark) -> bool {
        self.with(|state| state.raised == since.0 && state.unstored.is_empty())
    }

    /// Why, in words, of the latest one.
    pub(super) fn text(&self) -> String {
        self.with(|state| state.text.clone())
    }
}
