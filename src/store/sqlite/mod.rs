//! The store on SQLite: one connection writes, a few others read beside it.
//!
//! Every statement hops to the connection's thread, so there are few of them and they work on sets.

mod accounts;
mod audit;
mod backup;
mod claim;
mod clock;
mod commit;
mod consent;
mod customers;
mod door;
mod faults;
mod filesystem;
mod forged;
mod gates;
mod identities;
mod in_force;
mod lanes;
mod open;
mod operate;
#[cfg(test)]
mod plans;
mod protect;
mod queue;
mod reload;
mod restore;
mod rows;
mod schema;
mod send;
mod steps;
mod survey;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sqlx::SqliteConnection;
use tokio::sync::Mutex as AsyncMutex;

pub use self::backup::{BackupReport, backup};
pub use self::door::{Door, OPERATIONS, Passage, Step};
use self::lanes::Lanes;
pub use self::open::{MigrateMode, MigrationReport, SqliteSettings, free_bytes};
pub use self::restore::{Carried, RestoreReport, restore};
use super::files::{self, Files};
use super::lock::RunLock;
use super::{Result, StoreError};

/// Names who holds a database that stays locked.
fn held(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Busy(text) => files::busy(path, &text),
        other => other,
    }
}

/// The store. Every method is one transaction: it happens whole or not at all. Clones share the
/// connections.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    writer: Arc<Lanes>,
    readers: Arc<Lanes>,
    door: Door,
    /// The files that were opened.
    files: Files,
    /// Keeps the write-ahead log in being, whatever becomes of the other connections, and sees when they
    /// store something. Nothing is stored through this one.
    anchor: Arc<AsyncMutex<Option<SqliteConnection>>>,
    /// What the latest survey has counted of the rows that have ended.
    ended: Arc<Mutex<Option<survey::Ended>>>,
}

impl Store {
    /// The same store behind another door.
    #[must_use]
    pub fn behind(&self, door: Door) -> Self {
        Self { door, ..self.clone() }
    }

    /// The store of the process that holds this lock: from now on the lock file is looked at, too.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when the files are not those that are locked.
    pub fn guarded_by(self, lock: &RunLock) -> Result<Self> {
        let files = Files::of(self.files.named(), Some(lock))?;
        Ok(Self { files, ..self })
    }

    /// One step that may change something. It takes the database's write lock at once, so that what
    /// it reads cannot change before it writes; other processes wait up to the busy timeout. A step
    /// that fails changes nothing, and none is made on files that were moved, removed or replaced since
    /// they were opened.
    async fn write<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        let step = async |tx: &mut SqliteConnection| {
            self.files.check()?;
            step(tx).await
        };
        self.write_anywhere(operation, step).await
    }

    /// As [`write`](Self::write), wherever the files are by now: what an answer taught is kept with the
    /// command that was sent.
    async fn write_anywhere<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        let done = self.door.pass(operation, self.writer.transact("BEGIN IMMEDIATE", step)).await;
        done.map_err(|error| held(&self.path, error))
    }

    /// One statement that only reads.
    async fn read<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        self.door.pass(operation, self.readers.run(step)).await
    }

    /// One step that only reads, all of it from one moment.
    async fn snapshot<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        self.door.pass(operation, self.readers.transact("BEGIN DEFERRED", step)).await
    }
}
