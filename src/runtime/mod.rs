//! The daemon: what claims rows, drives each through the state machine and stops in good order.

pub mod account;
mod breaker;
pub mod clock;
pub mod cron;
pub mod customers;
pub mod daemon;
pub mod discovery;
pub mod halting;
pub mod job;
pub mod lease;
pub mod ledger;
pub mod live;
pub mod observe;
pub mod perform;
pub mod preview;
pub mod reconciler;
mod refusal;
pub mod scheduler;
pub mod settings;
mod slots;
pub mod timekeeping;
