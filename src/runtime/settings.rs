//! The settings of the engine.

use std::time::Duration;

use super::cron::Schedule;
use crate::core::machine::Policy;

/// The settings of the engine, in one place for all of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Tenants being read or written at once.
    pub max_in_flight: usize,
    /// Life of a lease.
    pub lease_ttl: Duration,
    /// How long shutdown waits for passes in flight.
    pub drain_timeout: Duration,
    /// Timing rules of the machine.
    pub policy: Policy,
    /// Terminal rows are kept this long.
    pub keep_finished: Duration,
    /// History is kept this long.
    pub keep_history: Duration,
    /// When the daemon keeps house.
    pub maintenance: Schedule,
}
