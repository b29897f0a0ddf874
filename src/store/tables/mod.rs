//! The tables: load and save, and nothing else.

pub(super) mod sqlite;
