//! `check`.

use super::args::Globals;
use super::exit::{Ending, Exit, Failure};

/// Runs the command.
pub(crate) async fn execute(_globals: &Globals) -> Ending {
    Err(Failure::new(Exit::Failed, "`check` is not built yet"))
}
