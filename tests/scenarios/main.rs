//! Scenarios that read as the specification: the whole daemon on a simulated sandbox, in simulated
//! time. Each test names the invariant of the design that it holds.

mod accounts;
mod answers;
mod budget;
mod calls;
mod canary;
mod clock;
mod consent;
mod discovery;
mod fallbacks;
mod faults;
mod guards;
mod halts;
mod happy_path;
mod harness;
mod lists;
mod operators;
mod outages;
mod positions;
mod proof;
mod records;
mod restarts;
mod scheduling;
mod slow;
mod stops;
mod surprises;
mod unplaced;
mod unsettled;
mod waiting;
mod worlds;
