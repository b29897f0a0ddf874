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
