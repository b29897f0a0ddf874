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
use super::tables::{replicas, teardowns, transitions, version};
use super::{Result, Tx};
use crate::core::teardown::Teardown;

/// Whether a newer program works on the database, too, with a schema that still allows this one. What this
/// program cannot read is then the other's, and is left alone.
async fn is_of_a_newer_program(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    if version::schema(tx).await? <= version::OWN {
        return Ok(false);
    }
    let working = replicas::working(tx, now).await?;
    Ok(working.iter().any(|replica| replica.version != env!("CARGO_PKG_VERSION")))
}

/// Saves a row that stays in its state, with the event that changed it.
async fn keep(tx: &mut Tx, row: &Teardown, event: Event, now: Timestamp) -> Result<()> {
    teardowns::save(tx, row, row.state).await?;
    transitions::record(tx, row, &[event], now).await
}
