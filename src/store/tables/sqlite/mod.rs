//! The tables in SQLite.

pub(in crate::store) mod rows;
