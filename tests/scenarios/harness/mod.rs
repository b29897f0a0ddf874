//! The whole daemon in a glass box: simulated time, an in-process sandbox, a store in memory and
//! seeded chance. Nothing in it can fail on a wall clock.

mod dice;
mod fleet;
mod given;
mod life;
mod look;
mod neighbour;
mod scene;
mod wait;

use std::time::Duration;

pub(crate) use fleet::*;
pub(crate) use given::*;
pub(crate) use look::*;
pub(crate) use neighbour::*;
pub(crate) use scene::{PATIENCE, Scene};
pub(crate) use teardownd::core::reason::Reason;
pub(crate) use teardownd::core::teardown::State;
pub(crate) use teardownd::simulator::{
    Appears, ComesBack, Effect, FaultKind, FaultProfile, Kind, Purchase, Rule, Template, When,
};
pub(crate) use teardownd::store::Verb;

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn mins(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(crate) const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

pub(crate) fn buy(kind: Kind) -> Purchase {
    Purchase::new(kind)
}
