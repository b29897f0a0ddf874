//! The store: one [`Store`], whose methods are one transaction each.
//!
//! `now` is the caller's clock. Times are kept to the millisecond. A method that takes a [`Fence`](crate::core::ids::Fence)
//! refuses with [`StoreError::LeaseLost`] when the row has moved on to another claim.
//!
//! A step loads rows, asks a rule what becomes of them and saves them. The arrows lead one way:
//! `steps` -> `tables` -> `rules` -> `model`. `file` is what concerns the SQLite file itself.
//!
//! One connection writes, a few others read beside it. Every statement hops to the connection's thread, so
//! there are few of them and they work on sets.

mod door;
mod file;
mod lanes;
mod model;
#[cfg(test)]
mod plans;
mod rules;
mod steps;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sqlx::SqliteConnection;
use tokio::sync::Mutex as AsyncMutex;

pub use self::door::{Door, OPERATIONS, Passage, Step};
use self::file::Files;
pub use self::file::lock;
pub(crate) use self::file::shared;
pub use self::file::{
    BackupReport, Carried, MigrateMode, MigrationReport, RestoreReport, SqliteSettings, backup,
    free_bytes, restore,
};
use self::lanes::Lanes;
use self::lock::RunLock;
pub use self::model::*;
pub use self::rules::{DAEMON, due_at, paced};
use crate::core::ids::{TeardownId, TenantId};
use crate::core::reason::Reason;

/// A connection in a transaction, as steps hand it to the tables.
pub(crate) type Tx = SqliteConnection;

/// Why a store call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row was claimed anew since: whoever holds this fence must stop.
    #[error("the lease on teardown {0} was lost")]
    LeaseLost(TeardownId),
    /// There is no such row.
    #[error("no {0}")]
    NotFound(String),
    /// Deny entries of operators refuse these tenants; nothing was queued.
    #[error("{} of the tenants are protected: see `teardownd protect --list`", .0.len())]
    Protected(Vec<(TenantId, Reason, String)>),
    /// These tenants are active already, and not with the domain that the call names; nothing was
    /// queued.
    #[error("{} of the tenants are active already with another domain, or with none", .0.len())]
    OtherDomain(Vec<(TenantId, Reason, String)>),
    /// The database refused the change (a trigger, a constraint, an illegal transition).
    #[error("the database refused: {0}")]
    Refused(String),
    /// A stored row cannot be understood: it was changed by hand or by another version.
    #[error("row {row} of table {table} is damaged: {text}")]
    Damaged {
        /// Table.
        table: &'static str,
        /// Row id, as text.
        row: String,
        /// What is wrong.
        text: String,
    },
    /// The database cannot be used as it is; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// Another process holds the database, for a while; the text names it where that is known.
    #[error("{0}")]
    Busy(String),
    /// The files of the database are not those any more that were opened.
    #[error("{0}")]
    Gone(String),
    /// Any other failure of the engine below (disk full, I/O).
    #[error("database: {0}")]
    Engine(String),
}

impl StoreError {
    /// Whether the database could not be asked at all, so that nothing is known of the change: the same
    /// call may succeed later. Every other error is the database's answer.
    pub const fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Gone(_) | Self::Engine(_) => true,
            Self::LeaseLost(_)
            | Self::NotFound(_)
            | Self::Protected(_)
            | Self::OtherDomain(_)
            | Self::Refused(_)
            | Self::Damaged { .. }
            | Self::Unfit(_) => false,
        }
    }
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Names who holds a database that stays locked.
fn held(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Busy(text) => file::busy(path, &text),
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
    /// The rows that have ended, as the latest survey has counted them.
    ended: Arc<Mutex<Option<tables::survey::Ended>>>,
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
