//! The tables: load and save, and nothing else.

mod sqlite;

pub(super) use sqlite::*;
