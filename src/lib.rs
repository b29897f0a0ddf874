//! `teardownd` drives the customer tenants of a Microsoft Partner Center *integration sandbox*
//! from "queued" to "provably deleted".
//!
//! Layers, each of which may use only those below it:
//!
//! ```text
//! interfaces      command line, configuration, HTTP (health, metrics), telemetry
//! runtime         scheduler, reconciler, leases, outbox, maintenance, lifecycle
//! store           what is kept, on SQLite
//! partner_center  REST client: credentials, wire types, error bodies, request budget
//! core            pure: identifiers, inventory, state machine, guards, settlement, backoff
//! ```
//!
//! `simulator` stands beside them: an integration sandbox in-process, for the demo and the tests.

// The suite of attempts leaves single guards out, which only the crate itself can.
#[cfg(test)]
extern crate self as teardownd;
#[cfg(all(test, feature = "simulator"))]
#[path = "../tests/red_team/mod.rs"]
mod red_team;

pub mod core;
pub mod interfaces;
pub mod partner_center;
pub mod runtime;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod store;
