//! The steps: each is one transaction that loads rows, asks a rule and saves them.

mod account;
mod budget;
mod commit;
mod configuration;
mod consent;
mod enqueue;
mod facts;
mod forged;
mod identity;
mod lease;
mod look;
mod recheck;
mod request;
mod send;
mod time;
mod upkeep;

use jiff::Timestamp;

use super::rules::Event;
use super::tables::{teardowns, transitions};
use super::{Result, Tx};
use crate::core::teardown::Teardown;

/// Saves a row that stays in its state, with the event that changed it.
async fn keep(tx: &mut Tx, row: &Teardown, event: Event, now: Timestamp) -> Result<()> {
    teardowns::save(tx, row, row.state).await?;
    transitions::record(tx, row, &[event], now).await
}
