//! The pure core: what things are and what is to be done next. Nothing here does I/O, reads a
//! clock or draws a random number; `tests/layers.rs` fails when that changes.

pub mod account;
pub mod approval;
pub mod assess;
pub mod backoff;
pub mod budget;
pub mod clock;
pub mod command;
pub mod database_time;
pub mod deleting;
pub mod discovery;
pub mod domain;
pub mod fault;
pub mod freshness;
pub mod gates;
pub mod hold;
pub mod ids;
pub mod inventory;
pub mod key;
pub mod machine;
pub mod memory;
pub mod observation;
pub mod plan;
pub mod policy;
pub mod protection;
pub mod reason;
pub mod request;
pub mod resource;
pub mod routes;
pub mod settlement;
pub mod situation;
pub mod teardown;
pub mod window;
