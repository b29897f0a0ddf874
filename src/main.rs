//! The `teardownd` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    teardownd::interfaces::cli::main()
}
