//! The simulator, driven by hand: every rule of the API it imitates and every breach it notes.
//! Time is simulated throughout; the clock moves only when a test moves it.

#![cfg(feature = "simulator")]

#[path = "simulator/breaches.rs"]
mod breaches;
#[path = "simulator/damage.rs"]
mod damage;
#[path = "simulator/endpoints.rs"]
mod endpoints;
#[path = "simulator/profiles.rs"]
mod profiles;
#[path = "simulator/rules.rs"]
mod rules;
#[path = "simulator/sample_loop.rs"]
mod sample_loop;
#[path = "simulator/support.rs"]
mod support;
#[path = "simulator/wire.rs"]
mod wire;
