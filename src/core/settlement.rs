//! What an answer to a command means: does it settle the command (invariant 4), and what is to be
//! done about a fault.

use super::command::Outcome;
use super::fault::{Class, Fault};

/// Whether an answer settles a command, and how. `None`: the command stays unsettled and is sent
/// again under the same id, after the remote state was read.
///
/// A 2xx settles. Any structured 4xx other than 401, 408 and 429 settles. 5xx, answers of gateways
/// and damaged bodies never do.
pub fn outcome_of(status: u16, structured: bool) -> Option<Outcome> {
    match status {
        200..=299 => Some(Outcome::Accepted),
        401 | 408 | 429 => None,
        400..=499 if structured => Some(Outcome::Refused),
        _ => None,
    }
}

/// The class of a fault.
pub fn classify(_fault: &Fault) -> Class {
    Class::Unknown
}
