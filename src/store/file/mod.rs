//! The SQLite file: open, migrate, back up, restore and lock it.

mod backup;
mod filesystem;
mod fitness;
mod identity;
pub mod lock;
mod open;
mod restore;
mod schema;
pub(crate) mod shared;
mod version;

pub use self::backup::{BackupReport, backup};
pub(super) use self::open::OpenFile;
pub use self::open::{MigrateMode, MigrationReport, SqliteSettings, free_bytes};
pub use self::restore::{Carried, RestoreReport, restore};
#[cfg(test)]
pub(super) use self::version::MIGRATOR;
