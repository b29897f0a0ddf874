//! The client against a scripted network.

mod census;
mod failures;
mod permits;
mod reads;
mod send;
mod tokens;
