//! `plan`.

use super::args::{Globals, TenantArgs};
use super::exit::{Ending, Exit, Failure};

/// Runs the command.
pub(crate) async fn execute(_globals: &Globals, _args: &TenantArgs) -> Ending {
    Err(Failure::new(Exit::Failed, "`plan` is not built yet"))
}
