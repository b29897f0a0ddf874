//! Scenarios that read as the specification: the whole daemon on a simulated sandbox, in simulated
//! time. Each test names the invariant of the design that it holds.

mod canary;
mod happy_path;
mod harness;
mod lists;
mod proof;
mod stops;
mod surprises;
mod unsettled;
