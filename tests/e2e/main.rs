//! The real program against the simulated sandbox, over HTTP and an SQLite file: killed, stopped,
//! asked by people and by SQL, and watched.
//!
//! No test here depends on how long anything takes. What must be in flight at a certain instant is
//! kept there by the simulator, whose answers a test can hold back ([`gate::Gate`]); what must have
//! happened is looked for until it is seen, with a limit that only a hang reaches.
#![cfg(feature = "simulator")]

mod beside;
mod cluster;
mod consent;
mod copies;
mod crowd;
mod daemon;
mod database;
mod demo;
mod exposition;
mod gate;
mod killed;
mod logs;
mod made_up;
mod metrics;
mod nights;
mod operators;
mod prometheus;
mod refusals;
mod reload;
mod replicas;
mod runbook;
mod sandbox;
mod second_run;
mod secrets;
mod server;
mod shutdown;
mod stage;
mod status;
mod supervised;
mod supervisor;
mod tampered;
mod tickets;
mod typed;
mod watched;
