//! The client against a scripted network.

mod census;
mod connections;
mod failures;
mod permits;
mod reads;
mod send;
mod tokens;
