//! `demo`.

use super::args::{DemoArgs, Globals};
use super::exit::{Ending, Exit, Failure};

/// Runs the command.
pub(crate) async fn execute(_globals: &Globals, _args: &DemoArgs) -> Ending {
    Err(Failure::new(Exit::Failed, "`demo` is not built yet"))
}
