//! The SQLite file: open, migrate, back up, restore and lock it.

mod backup;
mod filesystem;
mod identity;
pub mod lock;
mod open;
mod restore;
mod schema;
pub(crate) mod shared;

pub use self::backup::{BackupReport, backup};
pub(super) use self::identity::{Files, busy};
#[cfg(test)]
pub(super) use self::open::MIGRATOR;
pub use self::open::{MigrateMode, MigrationReport, SqliteSettings, free_bytes};
pub use self::restore::{Carried, RestoreReport, restore};
