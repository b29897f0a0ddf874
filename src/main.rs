//! The `teardownd` program.

fn main() {}
