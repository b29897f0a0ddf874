//! `demo`.

use super::args::{DemoArgs, Globals};
use super::exit::{Ending, Exit, Failure};

/// Runs the command.
pub(crate) async fn execute(_globals: &Globals, args: &DemoArgs) -> Ending {
    if args.faults {
        return Err(Failure::new(Exit::Usage, "--faults is not available in this version")
            .hint("run `teardownd demo` without it"));
    }
    Err(Failure::new(Exit::Failed, "`demo` is not built yet"))
}
